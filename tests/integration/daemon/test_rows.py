"""The main job: a user's row goes in, its progress and its result come out."""

import asyncio
import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from daemon_process import Daemon
from eventually import eventually
from javascript import FOLDER, node_with_client
from projects import FINISHED, Project

pytestmark = pytest.mark.asyncio(loop_scope="session")

StartDaemon = Callable[..., Daemon]


async def test_a_users_row_becomes_a_picture(
    project: Project, daemon: StartDaemon, tmp_path: Path
) -> None:
    """A row inserted with a user's rights runs visibly, and its file is the user's to download."""
    async with daemon(project):
        user = await project.user()
        metadata = {"prompt": "a lake", "width": 64, "height": 64, "seed": 7}
        hold = tmp_path / "hold"
        fake = {"steps": 10, "step_s": 0.1, "hold": str(hold)}
        job = await user.insert("sdxl_image_fast", {**metadata, "fake": fake})
        seen: list[tuple[str, int]] = []

        async def finished() -> bool:
            row = await user.read(job)
            if (state := (row["status"], row["progress"])) not in seen:
                seen.append(state)
            if row["progress"] > 0:
                hold.touch()
            return row["status"] in FINISHED

        await eventually(finished)
        row = await user.read(job)
        assert (row["status"], row["progress"], row["error"]) == ("completed", 100, None)
        assert seen == sorted(seen, key=lambda state: state[1])
        assert [state for state in seen if state[0] == "processing" and state[1] > 0]

        [artifact] = row["result"]["artifacts"]
        assert row["result"]["image_url"] == artifact["url"]
        assert row["result"]["metadata"]["seed"] == 7
        [run] = await project.database.runs(job)
        assert artifact["path"] == f"{user.id}/{job}/{run['claim_id']}-0.png"
        data, content_type = await user.download(artifact)
        assert (data[:8], content_type) == (b"\x89PNG\r\n\x1a\n", "image/png")
        assert str(job).encode() in data, "the file says which job made it"
        await project.assert_nothing_held()


async def test_every_kind_of_job_is_answered(project: Project, daemon: StartDaemon) -> None:
    """Text, pictures and films come out of one daemon, each in the shape that the API has."""
    async with daemon(project):
        user = await project.user()
        jobs = {
            kind: await user.insert(kind, {"prompt": "a lake", "width": 64, "height": 64})
            for kind in ("chat", "wan_image_high", "video_fast", "image7b_fast_enhanced")
        }
        for job in jobs.values():
            await project.until(job, "completed")
        results = {kind: (await user.read(job))["result"] for kind, job in jobs.items()}
        assert results["chat"]["response"] == "You said: a lake"
        metadata = results["image7b_fast_enhanced"]["metadata"]
        assert metadata["enhancement"] == {"used": True, "reason": None}
        assert metadata["prompt"] == metadata["enhanced_prompt"] == "You said: a lake"
        assert metadata["original_prompt"] == "a lake"
        kinds = [artifact["kind"] for artifact in results["video_fast"]["artifacts"]]
        assert kinds == ["video", "thumbnail"]
        for artifact in results["video_fast"]["artifacts"]:
            _, content_type = await user.download(artifact)
            assert (
                content_type == {"video": "video/mp4", "thumbnail": "image/png"}[artifact["kind"]]
            )


async def test_strangers_see_nothing(project: Project, daemon: StartDaemon) -> None:
    """Neither row nor file of a user is shown to another one."""
    async with daemon(project):
        owner, stranger = await project.user(), await project.user()
        job = await owner.insert("wan_image_fast", {"prompt": "a", "width": 64, "height": 64})
        await project.until(job, "completed")
        with pytest.raises((AssertionError, IndexError)):
            await stranger.read(job)
        if project.stack is not None:
            [artifact] = (await owner.read(job))["result"]["artifacts"]
            with pytest.raises(Exception, match="not found"):
                await stranger.download(artifact)


async def test_supabase_js_inserts_and_watches(supabase: Project, daemon: StartDaemon) -> None:
    """A frontend in JavaScript sees its row run and complete by events alone, and gets its file."""
    node, stack = node_with_client(), supabase.stack
    assert stack is not None
    metadata = {"prompt": "a lake", "width": 64, "height": 64, "fake": {"steps": 6, "step_s": 0.2}}
    async with daemon(supabase):
        done = await asyncio.to_thread(
            subprocess.run,
            [node, "one_job.mjs", "sdxl_image_fast", json.dumps(metadata)],
            cwd=FOLDER,
            env={"URL_OF_STACK": stack.url, "ANON_KEY": stack.anon_key},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        told = json.loads(done.stdout)
        assert told["seen"][0] == ["queued", 0]
        assert told["seen"][-1] == ["completed", 100]
        assert len({tuple(state) for state in told["seen"] if state[0] == "processing"}) >= 2
        assert told["row"]["result"]["artifacts"][0]["path"].startswith(f"{told['user']}/")
        assert told["files"] == [{"type": "image/png", "size": told["files"][0]["size"]}]
