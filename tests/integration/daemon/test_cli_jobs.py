"""Jobs on the command line: added, followed, listed, cancelled and tried again."""

import asyncio
import json
import signal
from collections.abc import Callable
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from command_line import CommandLine
from daemon_process import Daemon
from projects import Project

pytestmark = pytest.mark.asyncio(loop_scope="session")

StartDaemon = Callable[..., Daemon]

SLOW = json.dumps({"prompt": "a lake", "fake": {"steps": 600, "step_s": 0.5}})
FAILING = json.dumps({"prompt": "a lake", "fake": {"fail": "no paint"}})


@pytest.fixture
def ourvidz(project: Project, tmp_path: Path) -> CommandLine:
    """The command line with the settings of each kind of project."""
    return CommandLine(tmp_path / "operator", project.environment, project.secrets)


@pytest.fixture
def direct_cli(direct: Project, tmp_path: Path) -> CommandLine:
    """The same for bare PostgreSQL, for what doesn't depend on the kind of project."""
    return CommandLine(tmp_path / "operator", direct.environment, direct.secrets)


async def test_an_answer_goes_to_stdout_and_all_else_to_stderr(
    project: Project, daemon: StartDaemon, ourvidz: CommandLine
) -> None:
    """So that it can be piped; the request may come from stdin."""
    async with daemon(project):
        said = await ourvidz("submit", "chat", "--message", "Hi \u2600", "--param", "seed=7")
        piped = await ourvidz("submit", "generate", "--metadata", "-", stdin='{"prompt": "x"}')

    assert (said.status, said.stdout) == (0, "You said: Hi \u2600\n")
    assert said.stderr.startswith("job ")
    assert said.stderr.endswith("completed\n")
    assert (piped.status, piped.stdout) == (0, "You said: x\n")


async def test_files_are_shown_or_fetched(
    project: Project, daemon: StartDaemon, ourvidz: CommandLine, tmp_path: Path
) -> None:
    """Their addresses, or with a folder their paths; with --json each state is an object."""
    small = ("--prompt", "a lake", "--param", "width=64", "--param", "height=64")
    async with daemon(project):
        shown = await ourvidz("submit", "sdxl_image_fast", *small)
        fetched = await ourvidz(
            "submit", "video_fast", *small, "--output", str(tmp_path / "out"), "--json"
        )

    assert shown.status == fetched.status == 0
    assert shown.stdout.startswith(("http://", "file://"))
    states = [json.loads(line) for line in fetched.stdout.splitlines()]
    assert states[-1]["status"] == "completed"
    assert states[-1]["progress"] == 100
    [film, thumbnail] = [Path(line) for line in fetched.stderr.splitlines()]
    assert film.name == f"{states[-1]['id']}-0-video.mp4"
    sizes = {each["kind"]: each["size"] for each in states[-1]["result"]["artifacts"]}
    assert film.stat().st_size == sizes["video"]
    assert thumbnail.stat().st_size == sizes["thumbnail"]


async def test_the_exit_status_says_how_it_ended(
    project: Project, daemon: StartDaemon, ourvidz: CommandLine
) -> None:
    """3 failed, 4 cancelled, 5 not finished in time; the last one goes on."""
    async with daemon(project):
        failed = await ourvidz("submit", "sdxl_image_fast", "--metadata", FAILING)
        late = await ourvidz("submit", "chat", "--metadata", SLOW, "--timeout", "1")
        job_id = UUID(late.stderr.splitlines()[0].removeprefix("job "))
        await project.until(job_id, "processing")
        watching = await ourvidz.start("jobs", "watch", str(job_id))
        cancel = await ourvidz("jobs", "cancel", str(job_id))
        watched = await ourvidz.ended(watching)

    assert (failed.status, failed.stdout) == (3, "")
    assert "the job failed: GENERATION_FAILED: no paint" in failed.stderr
    assert (late.status, late.stdout) == (5, "")
    assert f"ourvidz-worker jobs watch {job_id}" in late.stderr
    assert (cancel.status, cancel.stdout) == (0, f"{job_id}  cancelled\n")
    assert (watched.status, watched.stdout) == (4, "")


async def test_ctrl_c_leaves_the_job_running(direct: Project, direct_cli: CommandLine) -> None:
    """And says how to follow and how to cancel it."""
    process = await direct_cli.start("submit", "chat", "--message", "Hi")
    said = await direct_cli.interrupt_after(process, "queued")
    ran = await direct_cli.ended(process)

    job_id = said.splitlines()[0].removeprefix("job ")
    assert (ran.status, ran.stdout) == (130, "")
    assert f"Watch it: ourvidz-worker jobs watch {job_id}" in ran.stderr
    assert f"Cancel it: ourvidz-worker jobs cancel {job_id}" in ran.stderr
    assert await direct.status(UUID(job_id)) == "queued"


async def test_jobs_are_listed_by_what_is_asked(ourvidz: CommandLine, project: Project) -> None:
    """As a table for people, as an object a line for programs."""
    user = uuid4()
    added = await ourvidz("submit", "chat", "--message", "Hi", "--no-wait", "--json",
                          "--user", str(user), "--priority", "5")  # fmt: skip
    job_id = json.loads(added.stdout)["id"]
    await project.insert("sdxl_image_fast")

    table = await ourvidz("jobs", "list")
    one = await ourvidz("jobs", "list", "--status", "queued", "--type", "chat", "--user",
                        str(user), "--since", "1h", "--json")  # fmt: skip
    none = await ourvidz("jobs", "list", "--status", "failed")
    shown = await ourvidz("jobs", "show", job_id)

    assert [line.split()[0] for line in table.stdout.splitlines()[::2]] == ["id", job_id]
    [found] = [json.loads(line) for line in one.stdout.splitlines()]
    assert (found["id"], found["user_id"], found["priority"]) == (job_id, str(user), 5)
    assert (none.status, none.stdout, none.stderr) == (0, "", "no such jobs\n")
    assert f"user id              {user}\n" in shown.stdout


async def test_a_failed_job_is_tried_again(
    project: Project, daemon: StartDaemon, ourvidz: CommandLine
) -> None:
    """What is finished or unknown is left alone, and the status says so."""
    job_id = await project.insert("chat", fail="no words")
    async with daemon(project):
        await project.until(job_id, "failed")
        await project.database.owner.execute(
            'update jobs set metadata = \'{"prompt": "x"}\' where id = $1', job_id
        )
        retried = await ourvidz("jobs", "retry", str(job_id))
        watched = await ourvidz("jobs", "watch", str(job_id))
        again = await ourvidz("jobs", "retry", str(job_id), str(UUID(int=1)), "--json")

    assert (retried.status, retried.stdout) == (0, f"{job_id}  queued\n")
    assert (watched.status, watched.stdout) == (0, "You said: x\n")
    assert again.status == 1
    assert [json.loads(line) for line in again.stdout.splitlines()] == [
        {"id": str(job_id), "status": "completed", "done": False},
        {"id": str(UUID(int=1)), "status": None, "done": False},
    ]


async def test_all_jobs_are_watched_as_they_come_and_go(
    direct: Project, daemon: StartDaemon, direct_cli: CommandLine
) -> None:
    """A line for each change when there is no terminal, the end of a job among them."""
    job_id = await direct.insert("chat")
    watching = await direct_cli.start("jobs", "watch")
    assert watching.stdout is not None
    async with asyncio.timeout(120):
        first = await watching.stdout.readline()
        async with daemon(direct):
            last = first
            while b"completed" not in last:
                last = await watching.stdout.readline()
    watching.send_signal(signal.SIGINT)
    ran = await direct_cli.ended(watching)

    assert first.decode() == f"{job_id}  chat  queued\n"
    assert last.decode() == f"{job_id}  chat  completed\n"
    assert (ran.status, ran.stdout) == (130, "")


async def test_a_terminal_gets_a_bar_and_no_color_if_it_wants_none(
    direct: Project, daemon: StartDaemon, direct_cli: CommandLine
) -> None:
    """A line that is drawn again and again; NO_COLOR takes the colours away."""
    submit = ("submit", "chat", "--message", "Hi")
    async with daemon(direct):
        status, plain = await direct_cli.on_terminal(*submit, NO_COLOR="1")
        _, coloured = await direct_cli.on_terminal(*submit)

    assert status == 0
    assert "100 %" in plain
    assert "\x1b[3" in coloured
    assert "\x1b[3" not in plain.replace("\x1b[3m", "")


async def test_a_key_without_the_rights_is_told_what_it_takes(
    supabase: Project, tmp_path: Path
) -> None:
    """Not only that something is forbidden."""
    environment = {**supabase.environment, "SUPABASE_WORKER_TOKEN": ""}
    ourvidz = CommandLine(tmp_path, environment, supabase.secrets)

    for command in (("jobs", "list"), ("submit", "chat", "--message", "Hi"),
                    ("jobs", "retry", str(uuid4()))):  # fmt: skip
        ran = await ourvidz(*command)
        assert (ran.status, ran.stdout) == (1, "")
        assert "permission denied" in ran.stderr
        assert "this takes the worker's rights: SUPABASE_WORKER_TOKEN" in ran.stderr


@pytest.mark.parametrize(
    ("arguments", "status", "sentence"),
    [
        (("submit", "paint", "--prompt", "x"), 2, "Invalid value for 'JOB_TYPE'"),
        (("submit", "chat"), 2, "say what to make"),
        (("submit", "chat", "--prompt", "x", "--message", "y"), 2, "give one"),
        (("submit", "chat", "--prompt", "x", "--param", "seed"), 2, "write it as name=value"),
        (("submit", "chat", "--metadata", "{"), 2, "is not valid JSON"),
        (("submit", "chat", "--metadata", "[]"), 2, "must be a JSON object"),
        (("submit", "chat", "--metadata", "@none.json"), 2, "No such file"),
        (("jobs", "show", "7"), 2, "is not a valid UUID"),
        (("jobs", "show", str(UUID(int=7))), 1, "there is no job"),
        (("jobs", "watch", str(UUID(int=7))), 1, "there is no job"),
        (("jobs", "list", "--dsn", "postgres://u:hush@127.0.0.1:1/x"), 1, "can't be reached"),
        (("jobs", "list", "--dsn", "postgres://u:hush@h:x/y"), 1, "it can't be read"),
    ],
)
async def test_what_cannot_be_done_is_a_message(
    direct_cli: CommandLine, arguments: tuple[str, ...], status: int, sentence: str
) -> None:
    """On stderr, with 2 for what was typed wrong and 1 for the rest."""
    ran = await direct_cli(*arguments)

    assert (ran.status, ran.stdout) == (status, "")
    assert sentence in ran.stderr
    assert "hush" not in ran.stderr
