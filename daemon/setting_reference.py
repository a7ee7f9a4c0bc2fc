"""Every setting, read off the code: its path, variables, type, default, and what it does.

What a setting does is the docstring below its field, what a section is for that of its class.
"""

import ast
import inspect
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from daemon.job_types import Model, Quality
from daemon.settings import Settings, read_layers, variables_of

_WORDS: Mapping[Any, str] = {
    str: "text",
    Path: "path",
    SecretStr: "secret",
    bool: "true or false",
    int: "integer",
    float: "number",
    Any: "any value",
}
_SIGNS = {Gt: ("above", "gt"), Ge: ("from", "ge"), Lt: ("below", "lt"), Le: ("to", "le")}


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting.

    Attributes:
        path: in the file, such as `server.port`; of a model's, `models.<model>.path`.
        variables: its names in the environment, the strongest first.
        type: in words.
        default: in TOML; empty where there is none.
        defaults: of a model's setting: the values that differ from model to model.
        text: what it does.
        secret: whether its value is never shown.
    """

    path: str
    variables: tuple[str, ...]
    type: str
    default: str
    defaults: Mapping[str, Any]
    text: str
    secret: bool


@dataclass(frozen=True, slots=True)
class Section:
    """A table of the file; the path of the first one is empty."""

    path: str
    text: str
    settings: tuple[Setting, ...]


@cache
def sections() -> tuple[Section, ...]:
    """Return all sections in the order of the code, the settings outside of any first."""
    found: list[Section] = []
    outside = _section("", "Outside of any section.", Settings, {})
    for name, field in Settings.model_fields.items():
        if _is_section(field.annotation):
            found += _with_inner(name, field.annotation)
        elif name == "models":
            found += _models(get_args(field.annotation)[1])
    return (outside, *found)


@cache
def paths() -> tuple[str, ...]:
    """Return the path of every setting, those of models once for each model."""
    return tuple(
        setting.path.replace("<model>", model).replace("<quality>", quality)
        for section in sections()
        for setting in section.settings
        for model in (Model if "<model>" in setting.path else ("",))
        for quality in (Quality if "<quality>" in setting.path else ("",))
    )


def _with_inner(path: str, kind: Any) -> Iterator[Section]:
    """Return a section, and those inside it."""
    yield _section(path, inspect.getdoc(kind) or "", kind)
    for name, field in kind.model_fields.items():
        if _is_section(field.annotation):
            yield from _with_inner(f"{path}.{name}", field.annotation)


def _models(kind: type[BaseModel]) -> Iterator[Section]:
    models: Mapping[str, Mapping[str, Any]] = read_layers(None)[0][0].values["models"]
    yield _section("models.<model>", inspect.getdoc(kind) or "", kind, models)
    defaults = get_args(kind.model_fields["defaults"].annotation)[1]
    text = "What requests get that don't say. A model takes those that its requests have."
    yield _section("models.<model>.defaults.<quality>", text, defaults)


def _section(
    path: str, text: str, kind: Any, models: Mapping[str, Mapping[str, Any]] | None = None
) -> Section:
    texts = _texts(kind)
    settings = tuple(
        Setting(
            path=(full := f"{path}.{name}".strip(".")),
            variables=variables_of(full),
            type=_type(field.annotation, field.metadata),
            default=_default(field),
            defaults={
                model: values[name] for model, values in (models or {}).items() if name in values
            },
            text=texts.get(name, ""),
            secret=SecretStr in _parts(field.annotation),
        )
        for name, field in kind.model_fields.items()
        if not _is_section(field.annotation) and not _is_table(path, name)
    )
    return Section(path, " ".join(text.partition("\n\n")[0].split()), settings)


def _is_table(path: str, name: str) -> bool:
    return (path, name) in {("", "models"), ("models.<model>", "defaults")}


def _is_section(annotation: Any) -> bool:
    return inspect.isclass(annotation) and issubclass(annotation, BaseModel)


def _texts(kind: type[BaseModel]) -> dict[str, str]:
    """Return the string below each field, those of its bases too."""
    found: dict[str, str] = {}
    for base in kind.__bases__:
        if issubclass(base, BaseModel) and base.model_fields:
            found |= _texts(base)
    [body] = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    fields = body.body if isinstance(body, ast.ClassDef) else []
    for field, below in pairwise(fields):
        match field, below:
            case (
                ast.AnnAssign(target=ast.Name(id=name)),
                ast.Expr(value=ast.Constant(value=str(text))),
            ):
                found[name] = " ".join(text.split()).replace("None: ", "unset: ")
    return found


def _parts(annotation: Any) -> tuple[Any, ...]:
    return get_args(annotation) or (annotation,)


def _type(annotation: Any, metadata: Any = ()) -> str:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _type(arguments[0], _constraints(arguments[1:]))
    if origin is Literal:
        text = ", ".join(f"`{each}`" for each in arguments[:-1]) + f" or `{arguments[-1]}`"
    elif origin in {Union, UnionType}:
        text = " or ".join(_type(each, metadata) for each in arguments if each is not type(None))
    elif origin is tuple:
        text = f"list of {_type(arguments[0])}"
    elif inspect.isclass(origin) and issubclass(origin, Mapping):
        text = f"table from {_type(arguments[0])} to {_type(arguments[1])}"
    elif annotation in {Model, Quality}:
        text = annotation.__name__.lower()
    else:
        text = f"{_WORDS.get(annotation, 'value')} {_bounds(metadata)}".strip()
    return text


def _constraints(metadata: Any) -> list[Any]:
    found: list[Any] = []
    for each in metadata:
        found += each.metadata if isinstance(each, FieldInfo) else [each]
    return found


def _bounds(metadata: Any) -> str:
    return " ".join(
        f"{word} {getattr(each, key):g}"
        for kind, (word, key) in _SIGNS.items()
        for each in metadata
        if isinstance(each, kind)
    )


def _default(field: FieldInfo) -> str:
    return "" if field.is_required() else toml_of(field.default)


def toml_of(value: Any) -> str:
    """Return a value as TOML writes it; empty for None, which TOML can't write."""
    match value:
        case None:
            return ""
        case bool():
            return str(value).lower()
        case int() | float():
            return f"{value:.15g}"
        case Mapping():
            inside = ", ".join(f"{key} = {toml_of(item)}" for key, item in value.items())
            return f"{{ {inside} }}" if inside else "{}"
        case list() | tuple():
            return f"[{', '.join(map(toml_of, value))}]"
        case _:
            text = str(value).replace("\\", "\\\\").replace('"', '\\"')
            return f'"{text}"'
