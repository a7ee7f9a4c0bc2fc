"""The way from a command to the jobs table: by the settings, or by a connection string given."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import click

from daemon.commands.running import Given, UserError, quiet, settings_of

if TYPE_CHECKING:  # The drivers take longer to load than all of `--help`.
    from daemon.settings import Settings
    from daemon.store.operators import Operators

_Command = TypeVar("_Command", bound=Callable[..., Any])

_DENIED = "(42501)"
"""How the stores write PostgreSQL's code for a missing right."""

ROLE_NEEDED = (
    "this takes the worker's rights: SUPABASE_WORKER_TOKEN, a secret or service role key, or a "
    "database login in the role ourvidz_worker"
)


def dsn_option(command: _Command) -> _Command:
    """Add `--dsn`."""
    return click.option(
        "--dsn",
        envvar="OURVIDZ_OPERATOR_DSN",
        help="Connection string to use instead of the settings' database or project.",
    )(command)


@asynccontextmanager
async def operators(given: Given, dsn: str | None) -> "AsyncIterator[Operators]":
    """Hold the desk open for the block.

    Raises:
        UserError: no database is configured, or it can't be reached, or it refuses.
    """
    from daemon.values import SchemaMismatchError, StoreRejectedError, StoreUnavailableError

    quiet()
    desk = _make(settings_of(given), dsn)
    try:
        yield desk
    except StoreRejectedError as error:
        text = f"{error}\n{ROLE_NEEDED}" if str(error).endswith(_DENIED) else str(error)
        raise UserError(text) from error
    except (StoreUnavailableError, SchemaMismatchError) as error:
        raise UserError(str(error)) from error
    finally:
        await desk.aclose()


def _make(settings: "Settings", dsn: str | None) -> "Operators":
    from daemon.store.operators import PostgresOperators, SupabaseOperators

    database, supabase = settings.database, settings.supabase
    if dsn is None and database.dsn is not None:
        dsn = database.dsn.get_secret_value()
    if dsn is not None:
        return PostgresOperators(dsn, timeout_s=database.statement_timeout_s)
    if supabase.url is None or supabase.credentials is None:
        raise UserError(
            "no database: give --dsn, or set DATABASE_URL, or SUPABASE_URL and SUPABASE_KEY"
        )
    return SupabaseOperators(supabase.url, supabase.credentials, timeout_s=supabase.timeout_s)
