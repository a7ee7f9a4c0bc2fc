"""The `migrate` command: errors of the connection become messages for the operator."""

import click

from daemon.startup import StartupError
from daemon.values import SchemaMismatchError


async def bring_up_to_date(dsn: str, *, dry_run: bool) -> list[str]:
    """Apply what is pending, or with `dry_run` only name it.

    Raises:
        StartupError: the database can't be reached, refuses, or doesn't fit.
    """
    import asyncpg

    from daemon.migrate import migrate, pending

    try:
        if not dry_run:
            return await migrate(dsn, report=lambda line: click.echo(line, err=True))
        connection = await asyncpg.connect(dsn)
        try:
            return [migration.name for migration in await pending(connection)]
        finally:
            await connection.close()
    except SchemaMismatchError as error:
        raise StartupError(str(error)) from error
    except (
        asyncpg.InvalidAuthorizationSpecificationError,
        asyncpg.InvalidCatalogNameError,
    ) as error:
        raise StartupError(f"the database refuses the connection: {error}") from error
    except asyncpg.PostgresError as error:
        raise StartupError(f"the database refused the migration: {error}") from error
    except (OSError, TimeoutError) as error:
        raise StartupError(f"the database can't be reached: {error}") from error
    except ValueError as error:
        # asyncpg quotes the string that it can't read, and with it the password.
        raise StartupError("the connection string can't be read") from error
