"""Settings from a folder of secret files: one value a file, named as its variable in lower case.

systemd makes such a folder of `LoadCredential=`, and names it in CREDENTIALS_DIRECTORY; Docker's
and Kubernetes' secrets are mounted as one. Files aren't inherited by child processes, as an
environment is, and don't show in `systemctl show` or `docker inspect`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic_settings import (
    BaseSettings,
    NestedSecretsSettingsSource,
    SecretsSettingsSource,
)
from pydantic_settings import SettingsError as PydanticSettingsError

VARIABLE = "CREDENTIALS_DIRECTORY"


class SecretFilesError(Exception):
    """The folder can't be read; the message names the file, never its content."""


def plain_values(folder: Path) -> dict[str, str]:
    """Return what the files hold, by their names in upper case.

    Names with a leading dot are Kubernetes' own. Blanks around a value are none of it: editors
    end files with a newline.

    Raises:
        SecretFilesError: a file can't be read as text.
    """
    if not folder.is_dir():
        raise SecretFilesError(f"{VARIABLE}: {folder} is no folder")
    try:
        found = NestedSecretsSettingsSource.load_secrets(folder.resolve())
    except (OSError, UnicodeDecodeError) as error:
        raise SecretFilesError(f"{VARIABLE}: {folder} can't be read: {_why(error)}") from None
    return {name.upper(): value for name, value in found.items()}


def nested_values(folder: Path, settings: type[BaseSettings]) -> Mapping[str, Any]:
    """Return what files with the prefixed names (`ourvidz_server__api_key`) set.

    Raises:
        SecretFilesError: a value can't be parsed.
    """
    try:
        return NestedSecretsSettingsSource(SecretsSettingsSource(settings), secrets_dir=folder)()
    except PydanticSettingsError as error:
        raise SecretFilesError(f"{VARIABLE}: {error}") from None


def _why(error: OSError | UnicodeDecodeError) -> str:
    if isinstance(error, OSError):
        return f"{error.strerror}: {error.filename}"
    return "a file isn't UTF-8 text"
