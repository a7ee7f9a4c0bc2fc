"""`config`: which settings are in effect and why, whether they are right, and what there is."""

import click

from daemon.commands.output import json_option, json_text, show_table, tell
from daemon.commands.running import Given, UserError, wrong_settings


@click.group("config")
def config_group() -> None:
    """Show, check and explain the settings."""


@config_group.command("show")
@click.option("--changed", is_flag=True, help="Only what isn't a default.")
@json_option
@click.pass_obj
def show_command(given: Given, changed: bool, as_json: bool) -> None:
    """Show what is in effect, and where it came from.

    Secrets are masked.

    \b
    ourvidz-worker config show --changed
    ourvidz-worker config show --json | jq '."server.port"'
    """
    from daemon.setting_origins import origins
    from daemon.settings import SettingsError

    try:
        found = origins(*given)
    except SettingsError as error:
        raise wrong_settings(error) from error
    chosen = {
        path: origin for path, origin in found.items() if not changed or origin.source != "default"
    }
    if as_json:
        value = {path: {"value": o.value, "source": o.source} for path, o in chosen.items()}
        tell("", value, as_json=True)
        return
    from rich.table import Table
    from rich.text import Text

    table = Table("setting", "value", "from", box=None, pad_edge=False)
    for path, origin in chosen.items():
        shown = "" if origin.value is None else json_text(origin.value)
        table.add_row(path, Text(shown), Text(origin.source))
    show_table(table)


@config_group.command("check")
@json_option
@click.pass_obj
def check_command(given: Given, as_json: bool) -> None:
    """Say all that is wrong with the settings.

    Nothing is started and nobody is asked. Exit status 1 when something
    is. `doctor` also asks the database, the project and the GPU.
    """
    from daemon.setting_check import problems_of

    problems = problems_of(*given)
    if as_json:
        tell("", {"ok": not problems, "problems": problems}, as_json=True)
        if problems:
            raise SystemExit(UserError.exit_code)
    elif problems:
        raise UserError("\n".join(["settings are wrong", *problems]))
    else:
        click.echo("the settings are right")


@config_group.command("reference")
@click.option("--example", is_flag=True, help="An example of the TOML file instead of the page.")
@json_option
def reference_command(example: bool, as_json: bool) -> None:
    """Print every setting, and what it does.

    \b
    ourvidz-worker config reference --example > ourvidz-worker.toml
    """
    from daemon import setting_pages

    if as_json:
        tell("", setting_pages.as_json(), as_json=True)
    else:
        click.echo(setting_pages.example() if example else setting_pages.page(), nl=False)
