"""The request of a job from the command line's options. Pure but for the files that it names."""

import json
import sys
from pathlib import Path
from typing import Any

import click


def request_of(
    metadata: str | None, prompt: str | None, message: str | None, params: tuple[str, ...]
) -> dict[str, Any]:
    """Return the metadata: the JSON, over it the prompt or message, over these the parameters.

    Raises:
        click.UsageError: there is no request, or it can't be read.
    """
    if metadata is None and prompt is None and message is None:
        raise click.UsageError("say what to make: --prompt, --message or --metadata")
    if prompt is not None and message is not None:
        raise click.UsageError("--prompt and --message are two ways to say one thing: give one")
    request = {} if metadata is None else _object(_text(metadata))
    if prompt is not None:
        request["prompt"] = prompt
    if message is not None:
        request["message"] = message
    for param in params:
        name, separator, value = param.partition("=")
        if not separator or not name:
            raise click.UsageError(f"--param {param}: write it as name=value")
        request[name] = _value(value)
    return request


def _text(given: str) -> str:
    """Return the JSON itself, a file's (`@file`) or stdin's (`-`)."""
    try:
        if given == "-":
            return sys.stdin.read()
        return Path(given[1:]).read_text(encoding="utf-8") if given.startswith("@") else given
    except (OSError, UnicodeDecodeError) as error:
        raise click.UsageError(f"--metadata {given}: {error}") from error


def _object(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError as error:
        raise click.UsageError(f"--metadata is not valid JSON: {error}") from error
    if not isinstance(found, dict):
        raise click.UsageError("--metadata must be a JSON object")
    return found


def _value(text: str) -> Any:
    """Read a value as JSON, else as the text that it is."""
    try:
        return json.loads(text)
    except ValueError:
        return text
