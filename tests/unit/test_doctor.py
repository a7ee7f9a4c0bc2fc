"""The doctor's own judgement: clocks, model files, credentials, and checks that break."""

import asyncio
import json
import struct
from pathlib import Path

import pytest

from daemon.credentials import Credentials, mint
from daemon.doctor import models
from daemon.doctor.clocks import clock_finding
from daemon.doctor.findings import Check, Finding, Verdict, clean, examine, ok
from daemon.doctor.models import broken
from daemon.doctor.project import _credentials, url_project
from daemon.settings import load_settings
from daemon.telemetry.redaction import register_secret

TENSOR = {"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}


def safetensors(path: Path, header: object = TENSOR, data: bytes = b"\0" * 8) -> Path:
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    return path


async def test_a_check_that_breaks_or_hangs_hides_no_other() -> None:
    """Each has its own line, in the checks' order."""

    async def breaks() -> list[Finding]:
        raise RuntimeError("boom")

    async def hangs() -> list[Finding]:
        await asyncio.Event().wait()
        return []

    async def works() -> list[Finding]:
        return [ok("third", "fine")]

    found = await examine(
        [Check("first", breaks), Check("second", hangs, timeout_s=0), Check("third", works)]
    )

    assert [(each.check, each.verdict) for each in found] == [
        ("first", Verdict.FAILED),
        ("second", Verdict.FAILED),
        ("third", Verdict.OK),
    ]
    assert "RuntimeError: boom" in found[0].seen


def test_secrets_and_line_breaks_are_taken_out() -> None:
    """Whatever a library quotes."""
    register_secret("doctors-secret")
    found = clean(Finding("x", Verdict.FAILED, "a\n doctors-secret", "postgres://u:p@h/d"))
    assert "doctors-secret" not in found.seen
    assert "\n" not in found.seen
    assert ":p@" not in found.advice


@pytest.mark.parametrize(
    ("offset_s", "uncertain_s", "verdict"),
    [
        (0.5, 0, Verdict.OK),
        (-1.9, 0, Verdict.OK),
        (2.5, 0, Verdict.WARNING),
        (2.5, 1, Verdict.OK),
        (-29.0, 0, Verdict.WARNING),
        (31.0, 0, Verdict.FAILED),
        (-31.5, 1, Verdict.FAILED),
    ],
)
def test_clocks_are_judged_by_what_is_certain(
    offset_s: float, uncertain_s: float, verdict: Verdict
) -> None:
    """A coarse clock proves less."""
    assert clock_finding("the database's", offset_s, uncertain_s).verdict is verdict


def test_the_way_of_a_clock_is_told() -> None:
    """Who is ahead of whom."""
    assert "40.0 s behind the database's" in clock_finding("the database's", 40).seen
    assert "40.0 s ahead of the database's" in clock_finding("the database's", -40).seen


def test_a_whole_file_and_broken_ones(tmp_path: Path) -> None:
    """Cut off, grown, a pointer, another format, and empty."""
    path = tmp_path / "m.safetensors"
    assert broken(safetensors(path)) is None
    assert broken(safetensors(path, {"__metadata__": {"a": "b"}}, b"")) is None
    assert "cut off" in str(broken(safetensors(path, data=b"\0" * 4)))
    assert "instead of" in str(broken(safetensors(path, data=b"\0" * 9)))
    assert "header can't be read" in str(broken(safetensors(path, ["x"])))
    path.write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    assert "Git LFS pointer" in str(broken(path))
    for content in (b"", b"1234", b"\xff" * 64):
        path.write_bytes(content)
        assert broken(path) == "it is no safetensors file"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is the chat model's path."""
    monkeypatch.setenv("OURVIDZ_MODELS__CHAT__PATH", str(tmp_path))
    monkeypatch.setenv("OURVIDZ_WORKER_TYPE", "chat")
    return tmp_path


async def the_model() -> Finding:
    [found] = await models.look(load_settings())
    return found


async def test_models_on_disk(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole ones with their size; without weights, cut off, or missing they fail."""
    assert "has no weights" in (await the_model()).seen
    (folder / "sub").mkdir()
    file = safetensors(folder / "sub" / "m.safetensors")
    found = await the_model()
    assert (found.verdict, "1 files of weights" in found.seen) == (Verdict.OK, True)
    file.write_bytes(file.read_bytes()[:-1])
    assert "cut off" in (await the_model()).seen
    monkeypatch.setenv("OURVIDZ_MODELS__CHAT__PATH", str(folder / "none"))
    assert "does not exist" in (await the_model()).seen
    monkeypatch.setenv("OURVIDZ_MODELS__CHAT__PATH", "Qwen/Qwen2.5-7B-Instruct")
    assert (await the_model()).verdict is Verdict.WARNING


async def test_weights_above_the_budget_are_a_warning(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They may be loaded in fewer bits; that they don't fit as they are is worth a word."""
    safetensors(folder / "m.safetensors")
    monkeypatch.setenv("OURVIDZ_MODELS__CHAT__BUDGET_GB", "0.00000001")
    found = await the_model()
    assert found.verdict is Verdict.WARNING
    assert "above its budget" in found.seen


def test_a_key_of_another_project_is_told_apart() -> None:
    """By what key and address say of themselves, without asking anybody."""
    import jwt

    key = jwt.encode({"role": "anon", "ref": "abc"}, "s" * 32, "HS256")
    credentials = Credentials(key, mint("s" * 32, 30, 0.0))
    found = _credentials("https://xyz.supabase.co", credentials, now=0.0)

    assert [(each.check, each.verdict) for each in found] == [
        ("key", Verdict.FAILED),
        ("token", Verdict.OK),
    ]
    assert "project abc, SUPABASE_URL names xyz" in found[0].seen
    assert found[1].seen == "the worker's rights alone, for 30 days"
    assert len(_credentials("https://abc.supabase.co", credentials, now=0.0)) == 1
    assert url_project("http://127.0.0.1:54321") is None
