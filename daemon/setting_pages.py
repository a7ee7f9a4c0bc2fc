"""The reference of all settings as a page, and as an example of the file: both from the code."""

from collections.abc import Iterator, Mapping
from typing import Any

from daemon.setting_reference import Section, Setting, sections, toml_of

_HEAD = """\
# Configuration

<!-- Made from the code by `make docs`: edit the docstrings in daemon/sections.py instead. -->

Settings come from these sources, each over the one before:

1. the defaults below;
2. a TOML file: `--config`, else `./ourvidz-worker.toml`, else `/etc/ourvidz-worker/config.toml`;
3. environment variables: `OURVIDZ_` and the path with two underscores, such as
   `OURVIDZ_SERVER__PORT=7861`; lists and tables as JSON. Some have a short name too;
4. the command line: `--worker-type`, `--port`.

An unknown key or variable is an error, and all errors are told at once, each with the setting's
path and its variable. `ourvidz-worker config check` looks without starting anything;
`ourvidz-worker config show` says which value is in effect, and from where it came.
`ourvidz-worker.example.toml` has every setting with its default.

Names that end in `_s` are seconds, in `_gb` units of 2^30 bytes. Of several variables in a row the
first one that is set counts.
"""

_EXAMPLE_HEAD = """\
# Every setting of ourvidz-worker with its default; uncomment what you change.
# Made from the code by `make docs`. docs/configuration.md has the same as a page.
# Secrets (supabase.key, supabase.token, database.dsn, server.api_key) are better set in the
# environment than here.
"""

_WIDTH = 98
_MODELS = 4
"""With a default of its own for each, there is none for others."""


def page() -> str:
    """Return docs/configuration.md."""
    return "\n".join([_HEAD, *(_table(section) for section in sections())])


def example() -> str:
    """Return ourvidz-worker.example.toml: everything is a comment but the headings."""
    parts = [_EXAMPLE_HEAD]
    for section in sections():
        if "<quality>" in section.path:
            continue
        if "<model>" in section.path:
            models = list(next(s for s in section.settings if s.defaults).defaults)
            parts += [_example_section(section, model) for model in models]
        else:
            parts.append(_example_section(section, ""))
    return "\n".join(parts)


def _table(section: Section) -> str:
    heading = f"## `{section.path}`" if section.path else "## Outside of any section"
    text = section.text if section.path else "At the top of the file."
    rows = [
        f"| `{setting.path}` | {_variables(setting)} | {setting.type} | {_default(setting)} "
        f"| {setting.text.replace('|', '&#124;')} |"
        for setting in section.settings
    ]
    head = "| setting | variable | type | default | |\n|---|---|---|---|---|"
    return "\n".join([heading, "", text, "", head, *rows, ""])


def _variables(setting: Setting) -> str:
    return "<br>".join(f"`{name}`" for name in setting.variables)


def _default(setting: Setting) -> str:
    if not setting.defaults:
        return f"`{setting.default}`" if setting.default else ""
    named = [f"{model} `{toml_of(value)}`" for model, value in setting.defaults.items()]
    others = [f"else `{setting.default}`"] if setting.default not in {"", "{}", '""'} else []
    return "<br>".join([*named, *(others if len(setting.defaults) < _MODELS else [])])


def _example_section(section: Section, model: str) -> str:
    lines = [] if not section.path else [f"[{section.path.replace('<model>', model)}]"]
    if section.path and (not model or model == "chat"):
        lines = [*_comment(section.text), *lines]
    for setting in section.settings:
        if not model or model == "chat":
            lines += _comment(setting.text)
        lines.append(_example_line(setting, model))
    return "\n".join([*lines, ""])


def _example_line(setting: Setting, model: str) -> str:
    name = setting.path.rpartition(".")[2]
    value: Any = setting.defaults.get(model)
    text = setting.default if value is None else toml_of(_keyed(value))
    return f"# {name} = {text}" if text else f"# {name} ="


def _keyed(value: Any) -> Any:
    return dict(value) if isinstance(value, Mapping) else value


def _comment(text: str) -> Iterator[str]:
    line = "##"
    for word in text.split():
        if len(line) + 1 + len(word) > _WIDTH:
            yield line
            line = "##"
        line = f"{line} {word}"
    yield line


def as_json() -> list[dict[str, Any]]:
    """Return every setting as JSON; of a model's, the defaults that differ from model to model."""
    return [
        {
            "setting": setting.path,
            "variables": setting.variables,
            "type": setting.type,
            "default": setting.default or None,
            "defaults": {str(model): value for model, value in setting.defaults.items()},
            "secret": setting.secret,
            "text": setting.text,
        }
        for section in sections()
        for setting in section.settings
    ]
