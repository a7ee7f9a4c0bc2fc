"""How a command runs: the settings that were asked for, and messages instead of tracebacks.

Answers go to stdout, all else to stderr.
"""

import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

import click

from daemon.exit_codes import DEFECT, INTERRUPTED, MISTAKE, TRY_AGAIN

if TYPE_CHECKING:  # It takes longer than all of `--help`.
    from daemon.settings import Settings


class UserError(click.ClickException):
    """Something that the operator can mend; shown without a traceback."""

    exit_code = MISTAKE

    def show(self, file: Any = None) -> None:
        """Write the message to stderr, each line as it is."""
        click.echo(f"ourvidz-worker: {self.message}", file=file, err=True)


class TryAgainError(UserError):
    """Something that may mend itself."""

    exit_code = TRY_AGAIN


class Given(NamedTuple):
    """What the command line said before the command: the file, and what goes over it."""

    config: Path | None
    overrides: dict[str, Any]


def settings_of(given: Given) -> "Settings":
    """Read the settings.

    Raises:
        UserError: they are wrong.
    """
    from daemon.settings import SettingsError, load_settings

    try:
        return load_settings(*given)
    except SettingsError as error:
        raise wrong_settings(error) from error


def wrong_settings(error: Exception) -> UserError:
    """Return the message for wrong settings."""
    return UserError(f"settings are wrong\n{error}")


def run(start: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    """Run to the end; turn what the operator can mend into a message."""
    import asyncio

    from daemon.settings import SettingsError
    from daemon.startup import NotYetError, StartupError

    try:
        return asyncio.run(start())
    except StartupError as error:
        kind = TryAgainError if isinstance(error, NotYetError) else UserError
        raise kind(str(error)) from error
    except SettingsError as error:
        raise wrong_settings(error) from error
    except KeyboardInterrupt:
        interrupted()
    except click.ClickException:
        raise
    except Exception:  # noqa: BLE001 -- a defect of any kind; its status tells it from a mistake
        sys.excepthook(*sys.exc_info())
        sys.exit(DEFECT)


def quiet() -> None:
    """Log nothing: what a command has to say is in its answer."""
    import logging

    import structlog

    logging.disable(logging.CRITICAL)
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL),
    )


def interrupted() -> NoReturn:
    """End as after Ctrl-C."""
    sys.exit(INTERRUPTED)
