"""Rows as strangers write them: each gets a sentence and a code, and the daemon lives on."""

from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from daemon_process import Daemon
from eventually import eventually
from projects import FINISHED, Project, User

pytestmark = pytest.mark.asyncio(loop_scope="session")

StartDaemon = Callable[..., Daemon]

SIZE = {"width": 64, "height": 64}
INVALID = ("failed", "INVALID_PROMPT")

ROWS: dict[str, tuple[str, Any, str]] = {
    "unknown type": ("hologram", {"prompt": "a"}, 'unknown job type "hologram"'),
    "list": ("sdxl_image_fast", ["a"], "metadata must be an object, not a list"),
    "string": ("chat", '"hello"', "metadata must be an object, not text"),
    "number": ("chat", 7, "metadata must be an object, not a number"),
    "true": ("chat", True, "metadata must be an object, not true or false"),
    "no prompt": ("sdxl_image_fast", SIZE, "prompt is missing"),
    "empty prompt": ("sdxl_image_fast", {"prompt": "  ", **SIZE}, "prompt is missing"),
    "null prompt": ("wan_image_fast", {"prompt": None}, "prompt is missing"),
    "prompt of 11,000 characters": (
        "sdxl_image_fast",
        {"prompt": "x" * 11_000, **SIZE},
        "prompt is 11,000 characters long, and at most 10,000 are allowed",
    ),
    "prompt that is a list": (
        "sdxl_image_fast",
        {"prompt": ["a"]},
        'prompt must be text, not ["a"]',
    ),
    "size 65": (
        "sdxl_image_fast",
        {"prompt": "a", "width": 65, "height": 64},
        "width must be a multiple of 8 from 64 to 2048 for sdxl, not 65",
    ),
    "size 10**12": (
        "sdxl_image_fast",
        {"prompt": "a", "width": 10**12},
        "width must be a multiple of 8 from 64 to 2048, not 1000000000000",
    ),
    "size as text": (
        "sdxl_image_fast",
        {"prompt": "a", "width": "64"},
        'width must be a multiple of 8 from 64 to 2048, not "64"',
    ),
    "too many pictures": (
        "sdxl_image_fast",
        {"prompt": "a", "num_images": 1000},
        "num_images must be a whole number from 1 to 6, not 1000",
    ),
    "steps of 2.5": (
        "sdxl_image_fast",
        {"prompt": "a", "steps": 2.5},
        "steps must be a whole number from 1 to 150, not 2.5",
    ),
    "nothing to say": ("chat", {}, "messages is missing: give messages, message or prompt"),
    "a role that there isn't": (
        "chat",
        {"messages": [{"role": "root", "content": "a"}]},
        'messages[0].role must be system, user or assistant, not "root"',
    ),
    "an endless film": ("video_fast", {"prompt": "a", "duration": 1e9}, "duration must be"),
}


async def test_each_bad_row_says_what_is_wrong(project: Project, daemon: StartDaemon) -> None:
    """Whatever metadata holds, the row tells what is wrong with it and what would be right."""
    async with daemon(project) as worker:
        user = await project.user()
        jobs = {name: await user.insert(kind, data) for name, (kind, data, _) in ROWS.items()}
        for name, job in jobs.items():
            await project.until(job, "failed")
            row = await user.read(job)
            assert (row["status"], row["error_code"]) == INVALID, name
            assert ROWS[name][2] in row["error"], name
            assert row["result"] is None, name
            assert row["completed_at"] is not None, name
        await assert_still_works(project, worker)


async def test_strange_text_arrives_as_it_is(project: Project, daemon: StartDaemon) -> None:
    """Any script, control characters and quotes pass through; null metadata is an empty request."""
    text = "zażółć 你好 \u202e\U0001f600 \x01\x1b[31m '\"\\ {{x}} %s"
    async with daemon(project) as worker:
        user = await project.user()
        job = await user.insert("chat", {"prompt": text})
        await project.until(job, "completed")
        assert (await user.read(job))["result"]["response"] == f"You said: {text}"

        for null in (None, "null"):
            if project.stack is None and null is None:
                continue
            job = await user.insert("chat", null if project.stack is None else None)
            row = await project.until(job, "failed")
            assert row["error_code"] == "INVALID_PROMPT"
        assert "\x1b[31m" not in worker.log
        await assert_still_works(project, worker)


INSERTS: dict[str, tuple[dict[str, Any], str]] = {
    "5 MB": (
        {"metadata": {"prompt": "x" * 5_000_000}},
        "the limit is 524288 bytes",
    ),
    "NUL": ({"metadata": {"prompt": "a\0b"}}, "u0000"),
    "completed": ({"status": "completed"}, 'inserted with status "queued", not "completed"'),
    "processing": ({"status": "processing"}, 'inserted with status "queued", not "processing"'),
    "no status that there is": ({"status": "done"}, 'inserted with status "queued", not "done"'),
    "for somebody else": (
        {"user_id": "00000000-0000-4000-8000-000000000001"},
        "row-level security",
    ),
}


@pytest.mark.parametrize("case", INSERTS)
async def test_what_a_browser_may_not_insert_is_refused(project: Project, case: str) -> None:
    """The insert itself fails, in words that a frontend's developer understands."""
    columns, sentence = INSERTS[case]
    user = await project.user()
    columns = {"metadata": {"prompt": "a"}, **columns}
    if project.stack is None and "user_id" in columns:
        columns["user_id"] = UUID(columns["user_id"])
    with pytest.raises(Exception, match=sentence):
        await user.insert("chat", **columns)
    assert await project.database.owner.fetchval("select count(*) from jobs") == 0


async def test_what_a_browser_writes_into_other_columns_is_ignored(
    direct: Project, daemon: StartDaemon
) -> None:
    """Attempts, results and priorities aren't a user's to set."""
    user = await direct.user()
    job = await user.insert(
        "chat",
        {"prompt": "a"},
        priority=1_000_000,
        attempts=2,
        max_attempts=1_000_000,
        progress=99,
        result='{"response": "forged"}',
        error="forged",
    )
    row = await user.read(job)
    assert (row["priority"], row["attempts"], row["progress"]) == (0, 0, 0)
    assert (row["result"], row["error"], row["max_attempts"]) == (None, None, 10)
    async with daemon(direct):
        await direct.until(job, "completed")


@pytest.mark.parametrize("way", ["update", "rpc", "delete"])
async def test_a_row_taken_back_while_it_runs(
    project: Project, daemon: StartDaemon, way: str
) -> None:
    """Cancelled or deleted, the run stops at its next step; no file and no claim stays behind."""
    async with daemon(project) as worker:
        user = await project.user()
        slow = {"prompt": "a", **SIZE, "fake": {"steps": 1000, "step_s": 0.1}}
        running = await user.insert("video_fast", slow)
        await project.until_running(running)
        queued = await user.insert("video_fast", slow)
        for job in (queued, running):
            await take_back(project, user, job, way)

        async def idle() -> bool:
            return (await worker.get("/health"))[1]["active_jobs"] == 0

        await eventually(idle)
        if way != "delete":
            for job in (queued, running):
                row = await user.read(job)
                assert (row["status"], row["result"]) == ("cancelled", None)
                assert row["completed_at"] is not None
            assert await project.database.runs(queued) == []
            assert [run["outcome"] for run in await project.database.runs(running)] == ["cancelled"]
        await assert_still_works(project, worker)


async def take_back(project: Project, user: User, job: UUID, way: str) -> None:
    match way:
        case "update":
            await user.cancel(job)
        case "rpc":
            await user.cancel_by_rpc(job)
        case _:
            # Users may not; a backend or an administrator does.
            await project.database.owner.execute("delete from jobs where id = $1", job)


async def test_a_row_cancelled_after_its_upload_leaves_no_file(
    direct: Project, daemon: StartDaemon, tmp_path: Path
) -> None:
    """Who is cancelled at the last moment gets no result, and nothing keeps his picture."""
    files = direct.files
    assert files is not None
    async with daemon(direct) as worker, direct.database.session() as holder:
        user = await direct.user()
        hold = tmp_path / "hold"
        held = {"prompt": "a", **SIZE, "fake": {"hold": str(hold)}}
        job = await user.insert("sdxl_image_fast", held)
        await direct.until_running(job)
        # The finish waits for the row, so that the cancellation comes between upload and finish.
        await holder.execute("begin")
        await holder.execute("select from jobs where id = $1 for update", job)
        hold.touch()
        await eventually(lambda: list(files.rglob("*.png")))
        await holder.execute("update jobs set status = 'cancelled' where id = $1", job)
        await holder.execute("commit")

        await eventually(lambda: not list(files.rglob("*.png")))
        row = await user.read(job)
        assert (row["status"], row["result"]) == ("cancelled", None)
        await assert_still_works(direct, worker)


async def test_a_bucket_deleted_while_the_daemon_runs(
    supabase: Project, daemon: StartDaemon
) -> None:
    """The row says which bucket is missing; text and other buckets go on."""
    settings = {"OURVIDZ_ARTIFACTS__IMAGES": "short-lived"}
    assert supabase.stack is not None
    owner = supabase.database.owner
    await owner.execute(
        "insert into storage.buckets (id, name, public) values ('short-lived', 'short-lived', true)"
    )
    # A bucket of one's own is out of the worker's role: with the project's service key it works.
    key = {"SUPABASE_SERVICE_ROLE_KEY": supabase.stack.service_role_key}
    supabase.environment.pop("SUPABASE_WORKER_TOKEN", None)
    supabase.environment.pop("SUPABASE_KEY", None)
    async with daemon(supabase, **key, **settings) as worker:
        await supabase.until(await supabase.insert("sdxl_image_fast"), "completed")
        await owner.execute(
            "delete from storage.objects where bucket_id = 'short-lived';"
            "delete from storage.buckets where id = 'short-lived'"
        )
        row = await supabase.until(await supabase.insert("sdxl_image_fast"), "failed")
        assert row["error_code"] == "GENERATION_FAILED"
        assert 'bucket "short-lived" does not exist' in row["error"]
        await supabase.until(await supabase.insert("chat"), "completed")
        await supabase.assert_nothing_held()
        assert (await worker.get("/health"))[1]["active_jobs"] == 0


async def assert_still_works(project: Project, worker: Daemon) -> None:
    """After all that, nothing is held, and a good job is done."""

    async def nothing_unfinished() -> bool:
        rows = await project.database.owner.fetch("select status from jobs")
        return all(row["status"] in FINISHED for row in rows)

    await eventually(nothing_unfinished)
    await project.assert_nothing_held()
    await project.until(await project.insert("sdxl_image_fast"), "completed")
    assert worker.process.returncode is None
