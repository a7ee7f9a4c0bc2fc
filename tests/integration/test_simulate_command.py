"""`ourvidz-worker simulate` as an operator meets it: tables, and messages but no tracebacks."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from daemon import simulate_worlds
from daemon.cli import main
from daemon.scheduling.rivals import RivalPolicy


@pytest.fixture(autouse=True)
def only_defaults(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No setting but the tests' own."""
    for name in ("DATABASE_URL", "OURVIDZ_CONFIG", "OURVIDZ_DEVICE__SIMULATE_GB"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


def simulate(*arguments: str, **environment: str) -> Result:
    return CliRunner().invoke(main, ["simulate", *arguments], env=environment)


def rows(*arguments: str, **environment: str) -> list[dict[str, Any]]:
    result = simulate("--json", *arguments, **environment)
    assert result.exit_code == 0, result.output
    found: list[dict[str, Any]] = json.loads(result.stdout)
    return found


def refusal(*arguments: str) -> str:
    """Return the message; nothing else may have been said, least of all a traceback."""
    result = simulate(*arguments)
    assert result.exit_code == 1
    assert isinstance(result.exception, SystemExit)
    assert result.stdout == ""
    assert result.stderr.startswith("ourvidz-worker: ")
    return result.stderr.removeprefix("ourvidz-worker: ")


def test_without_options_it_shows_the_shipped_policy_on_one_gpu() -> None:
    """Jobs are made up, and it says so."""
    result = simulate()

    assert result.exit_code == 0
    assert result.stdout.startswith("300 jobs in 1.4 h, generated, 200 an hour, seed 0\n\nhost ")
    assert "\n24 GB  shipped" in result.stdout
    assert "\n\n24 GB, shipped: jobs run in " in result.stdout
    assert result.stderr == ""


def test_policies_are_compared_on_the_same_jobs() -> None:
    """`all` is each of them, in one order, and none is left standing."""
    found = rows("--jobs", "60", "--policy", "all")

    assert [row["policy"] for row in found] == [
        "shipped", "fifo", "lru", "collate", "shortest-first", "static-partition",
    ]  # fmt: skip
    assert {(row["jobs"], row["refused"], row["host"]) for row in found} == {(60, 0, "24 GB")}
    assert len({row["waits"]["mean_s"] for row in found}) > 3


def test_gpus_of_a_host_and_hosts_to_compare() -> None:
    """`--gpu` once for each GPU of a host, `--compare` once for each further host."""
    found = rows("--jobs", "40", "--gpu", "24", "--gpu", "24", "--compare", "24", "--compare",
                 "24,48", "--per-hour", "400")  # fmt: skip

    assert [row["host"] for row in found] == ["2 x 24 GB", "24 GB", "24 + 48 GB"]
    assert found[0]["waits"]["mean_s"] < found[1]["waits"]["mean_s"]


def test_a_budget_is_simulated_beside_the_one_that_is_set() -> None:
    """So that its effect is one look at two rows."""
    found = rows("--budget", "sdxl=20", "--budget", "chat=6", "--gpu", "48", "--per-hour", "600")

    assert [row["host"] for row in found] == ["48 GB", "48 GB, sdxl 20, chat 6"]
    assert found[0]["waits"] != found[1]["waits"]


def test_the_settings_say_what_is_simulated() -> None:
    """Models, budgets, and the size of the device."""
    environment = {"OURVIDZ_DEVICE__SIMULATE_GB": "48", "OURVIDZ_WORKER_TYPE": "sdxl"}
    [row] = rows("--jobs", "20", **environment)

    assert row["host"] == "48 GB"
    assert {name.split()[0] for name in row["classes"]} == {"sdxl"}


def test_an_exported_trace_simulates_alike(tmp_path: Path) -> None:
    """The file holds everything that counts."""
    path = tmp_path / "trace.jsonl"
    written = simulate("--json", "--jobs", "80", "--seed", "5", "--export", str(path))

    assert written.stderr == f"wrote 80 jobs to {path}\n"
    assert json.loads(written.stdout) == rows("--trace", str(path))


def test_a_trace_says_what_was_left_out(tmp_path: Path) -> None:
    """Nobody should wonder where jobs are."""
    path = tmp_path / "trace.jsonl"
    path.write_text(
        '{"arrived_s": 5, "job_type": "chat", "run_s": 2}\n{"arrived_s": 6, "job_type": "paint"}'
    )
    result = simulate("--trace", str(path))

    assert result.exit_code == 0
    assert result.stderr == "left out, since no model here serves them: 1 paint\n"
    assert result.stdout.startswith(f"1 jobs in 0.0 h, from {path}\n")


@pytest.mark.parametrize("ending", ["svg", "png", "SVG"])
def test_a_plot_is_drawn(tmp_path: Path, ending: str) -> None:
    """With a line for each host and policy."""
    path = tmp_path / f"plot.{ending}"
    result = simulate("--jobs", "40", "--policy", "all", "--compare", "24", "--compare", "24,24",
                      "--plot", str(path))  # fmt: skip

    assert result.exit_code == 0, result.output
    assert result.stderr == f"drew {path}\n"
    head = path.read_bytes()[:40]
    assert head.startswith(b"\x89PNG" if ending == "png" else b"<?xml")


def test_without_matplotlib_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before anything is simulated."""
    for name in list(sys.modules):
        if name.partition(".")[0] == "matplotlib" or name == "daemon.simulate_plot":
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)

    said = refusal("--plot", str(tmp_path / "plot.svg"))
    assert "pip install 'ourvidz-worker[simulate]'" in said


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--trace", "none.jsonl"], "the trace can't be read"),
        (["--jobs", "3", "--from-database"], "give one source of jobs"),
        (["--jobs", "3", "--since", "2d"], "--since goes with --from-database"),
        (["--from-database"], "set DATABASE_URL"),
        (["--gpu", "20"], "no worker starts on 20 GB:\nmodel video: its budget of 20 GB"),
        (["--budget", "sdxl=10"], "no worker starts on 24 GB, sdxl 10:\nmodel sdxl, quality high"),
        (["--budget", "flux=10"], "no model flux is served; there are chat, sdxl, wan, video"),
        (["--plot", "plot.pdf"], "plot.pdf must end in .svg or .png"),
        (["--jobs", "3", "--export", "away/trace.jsonl"], "the trace can't be written"),
    ],
)
def test_what_cannot_be_had_is_a_message(arguments: list[str], sentence: str) -> None:
    """One that says what to do about it; the status is 1."""
    assert sentence in refusal(*arguments)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--from-database", "--since", "yesterday"],
        ["--from-database", "--since", "0d"],
        ["--compare", "24,x"],
        ["--compare", ""],
        ["--gpu", "-1"],
        ["--budget", "sdxl"],
        ["--budget", "sdxl=nan"],
        ["--policy", "lifo"],
        ["--jobs", "0"],
        ["--per-hour", "0"],
        ["--per-hour", "inf"],
        ["--gpu", "nan"],
        ["--gpu", "inf"],
        ["--gpu", "1e300"],
        ["--host-gb", "nan"],
        ["--host-gb", "100000"],
    ],
)
def test_what_cannot_be_read_is_a_usage_error(arguments: list[str]) -> None:
    """Click's own words name the option."""
    result = simulate(*arguments)

    assert result.exit_code == 2
    assert f"Invalid value for '{arguments[-2]}'" in result.stderr


def test_an_empty_trace_is_a_message(tmp_path: Path) -> None:
    """Not a table of zeros."""
    path = tmp_path / "trace.jsonl"
    path.write_text("")
    assert "no jobs to simulate" in refusal("--trace", str(path))
    assert "none at all" in refusal("--trace", str(path))


def test_a_time_beyond_all_times_is_a_message(tmp_path: Path) -> None:
    """Sums of such seconds would be infinite."""
    path = tmp_path / "trace.jsonl"
    path.write_text('{"arrived_s": 0, "job_type": "chat", "run_s": 1e308}')
    assert "trace.jsonl, line 1: Expected `float` <= 1" in refusal("--trace", str(path))


def test_a_plot_that_cannot_be_written_is_a_message() -> None:
    """After the table, which took the time."""
    result = simulate("--jobs", "3", "--plot", "away/plot.png")

    assert result.exit_code == 1
    assert result.stdout.startswith("3 jobs")
    assert "the plot can't be written" in result.stderr


def test_a_policy_that_stands_still_costs_the_others_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Their rows are there, its own is a message, and the status says that something is amiss."""

    class Idle(RivalPolicy):
        def next_command(self, *_: Any) -> None:
            return None

    idle = {**simulate_worlds._RIVALS, "lru": lambda: Idle(lambda _: 0.0)}
    monkeypatch.setattr(simulate_worlds, "_RIVALS", idle)
    result = simulate("--jobs", "5", "--policy", "lru", "--policy", "fifo")

    assert result.exit_code == 1
    assert "24 GB  fifo" in result.stdout
    assert "lru" not in result.stdout
    assert "24 GB, lru: it stands still" in result.stderr
    assert "Traceback" not in result.output


def test_refused_jobs_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the table, and as a message with status 1."""
    monkeypatch.setattr(simulate_worlds, "check_fits", lambda *_: [])
    result = simulate("--jobs", "50", "--gpu", "14")

    assert result.exit_code == 1
    assert "of 50 jobs were refused, since no device can take them" in result.stderr
    assert "14 GB  shipped" in result.stdout


def test_what_memory_of_the_host_would_save_is_shown_side_by_side() -> None:
    """Models that wait there come back sooner, so jobs wait less on a device that is too small."""
    found = rows("--host-gb", "0", "--host-gb", "32", "--gpu", "24")

    without, with_host = found
    assert [each["host"] for each in found] == ["24 GB", "24 GB, host 32"]
    assert with_host["loading_s"] < without["loading_s"]
