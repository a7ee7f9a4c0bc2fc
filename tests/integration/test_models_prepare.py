"""Small models are made once, whole or not at all."""

import threading
from pathlib import Path

import pytest

from devstack.models.cache import cache_folder, made_once


def test_a_folder_is_made_once(tmp_path: Path) -> None:
    """The second call finds it, and leaves nothing else behind."""
    target = tmp_path / "deep" / "model"

    def make(folder: Path) -> None:
        (folder / "weights").write_text("w")

    assert [made_once(target, make) for _ in range(2)] == [True, False]
    assert [path.name for path in target.parent.iterdir()] == ["model"]
    assert (target / "weights").stat().st_mode & 0o777 == 0o644


def test_a_failure_leaves_nothing(tmp_path: Path) -> None:
    """Half a model is never seen."""

    def make(folder: Path) -> None:
        (folder / "half").write_text("h")
        raise RuntimeError("no space")

    with pytest.raises(RuntimeError, match="no space"):
        made_once(tmp_path / "model", make)

    assert list(tmp_path.iterdir()) == []


def test_two_at_once_make_one(tmp_path: Path) -> None:
    """Both end well, and one folder is there, whole."""
    target = tmp_path / "model"
    both_in = threading.Barrier(2)
    made: list[bool] = []

    def make(folder: Path) -> None:
        (folder / "weights").write_text("w")
        both_in.wait(60)

    threads = [
        threading.Thread(target=lambda: made.append(made_once(target, make))) for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(made) == [False, True]
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_the_cache_is_where_the_user_keeps_caches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the XDG rules."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

    assert tmp_path / "ourvidz-worker" / "models" == cache_folder()
