"""The command line itself: help, completion, and how fast it answers."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from daemon.cli import main
from daemon.commands.outcomes import CANCELLED, FAILED, TIMED_OUT
from daemon.commands.output import printable
from daemon.commands.request import request_of
from daemon.commands.running import INTERRUPTED, UserError

ROOT = Path(__file__).parents[2]

HEAVY = ("aiohttp", "asyncpg", "pydantic", "rich", "structlog", "supabase", "httpx", "asyncio")


def commands(
    group: click.Group = main, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    for name, command in group.commands.items():
        yield (*path, name), command
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))


@pytest.mark.parametrize("arguments", [["--help"], *([*path, "--help"] for path, _ in commands())])
def test_every_command_has_a_help_that_is_not_cut_off(arguments: list[str]) -> None:
    """Its first sentence fits a line of the list, and examples are lines of their own."""
    result = CliRunner().invoke(main, arguments, terminal_width=80)

    assert result.exit_code == 0
    assert re.findall(r"^  \w.*\.\.\.$", result.stdout, re.MULTILINE) == []
    examples = re.findall(r"^ *(ourvidz-worker .*)", result.stdout, re.MULTILINE)
    assert all(len(line) <= 98 for line in examples)


def test_help_loads_no_library() -> None:
    """Neither does the shell's completion, which asks at every key."""
    program = (
        "import sys, daemon.cli; daemon.cli.main(['--help'], standalone_mode=False); "
        f"print([name for name in {HEAVY} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stderr == "[]\n"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_gets_its_script(shell: str) -> None:
    """Which calls the program with click's variable."""
    result = CliRunner().invoke(main, ["completion", shell])
    assert result.exit_code == 0
    assert f"_OURVIDZ_WORKER_COMPLETE={shell}_complete" in result.stdout


def test_completion_knows_commands_and_job_types() -> None:
    """As the script asks for them."""
    environment = {
        "_OURVIDZ_WORKER_COMPLETE": "bash_complete",
        "COMP_WORDS": "ourvidz-worker submit sdxl",
        "COMP_CWORD": "2",
    }
    result = CliRunner().invoke(main, prog_name="ourvidz-worker", env=environment)
    assert result.stdout.split() == ["plain,sdxl_image_fast", "plain,sdxl_image_high"]


def test_every_exit_status_is_documented() -> None:
    """In one table."""
    table = (ROOT / "docs" / "cli.md").read_text().partition("## Exit status")[2]
    found = [int(status) for status in re.findall(r"^\| (\d+) \|", table, re.MULTILINE)]
    assert found == [0, UserError.exit_code, 2, FAILED, CANCELLED, TIMED_OUT, INTERRUPTED]


def test_every_command_is_documented() -> None:
    """With the name that it has."""
    page = (ROOT / "docs" / "cli.md").read_text()
    for path, command in commands():
        if not isinstance(command, click.Group):
            assert f"`{' '.join(path)}`" in page or path[-1] in page.partition("## Exit")[0]


def test_commands_that_answer_can_do_it_in_json() -> None:
    """All but those that run, and the shell's script."""
    silent = {("run",), ("completion",)}
    without = {
        path
        for path, command in commands()
        if not isinstance(command, click.Group)
        and not any("--json" in option.opts for option in command.params)
    }
    assert without == silent


def test_a_request_is_laid_together() -> None:
    """The JSON, over it the prompt, over these the parameters: JSON or text."""
    params = ("width=512", "prompt=b", "note=a=b", "flag=true", "stop=[1]")
    assert request_of('{"seed": 1, "prompt": "x"}', "a", None, params) == {
        "seed": 1, "prompt": "b", "width": 512, "note": "a=b", "flag": True, "stop": [1],
    }  # fmt: skip


def test_what_steers_a_terminal_is_not_passed_on() -> None:
    """Errors and answers come from strangers."""
    assert printable("a\x1b[31mb\r\nc\td\u2600\x9b") == "a\ufffd[31mb\ufffd\nc\td\u2600\ufffd"
