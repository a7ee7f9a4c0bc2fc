"""A whole daemon as operators run it: a process, settings in its environment, its log a file."""

import asyncio
import contextlib
import os
import re
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from uuid import uuid4

import httpx
from eventually import PATIENCE_S, eventually

import daemon
from devstack.postgres import free_port

_MARK = "XDG_DAEMON_UNDER_TEST"
"""A variable that the daemon passes on to its engines: by its value each of its processes is found,
also when it is an orphan."""

_DEFECTS = (
    "Traceback",
    "was never retrieved",
    "was never awaited",
    "uncaught exception",
)

_FOREIGN = ("unexpected connection_lost() call",)
"""What asyncpg leaves behind when the server dies in the moment of connecting."""

_OF_ENGINES = (" - engine model=", '"event": "engine",')
"""Lines that engines wrote, in text and in JSON."""

FAKE_MODELS = {
    f"OURVIDZ_MODELS__{model}__{name}": value
    for model in ("CHAT", "SDXL", "WAN", "VIDEO")
    for name, value in {"RUNNER": "fake", "PATH": "", "NAME": f"{model.lower()}-fake"}.items()
}

USUAL = {
    **FAKE_MODELS,
    "OURVIDZ_DEVICE__SIMULATE_GB": "48",
    "OURVIDZ_PRELOAD": "[]",
    "OURVIDZ_LOG__LEVEL": "debug",
    "OURVIDZ_STOP__GRACE_S": "10",
}

SHORT_LEASES = {
    "OURVIDZ_LEASES__DURATION_S": "6",
    "OURVIDZ_LEASES__RENEW_EVERY_S": "1",
    "OURVIDZ_LEASES__MARGIN_S": "2",
}
"""A worker that is held up for three seconds keeps its jobs all the same."""

HELD_BYTES = 400 * 2**20
"""What each of the models that take turns really holds."""

TAKING_TURNS = {
    f"OURVIDZ_MODELS__{model}__{name}": value
    for model in ("SDXL", "VIDEO")
    for name, value in {
        # Nearly all of the device, also beside the little that an engine leaves there whose
        # weights have gone to the host.
        "BUDGET_GB": "20",
        "WEIGHTS_GB": "19.7",
        "FOOTPRINT_GB__FAST": "19.8",
        "FOOTPRINT_GB__HIGH": "19.8",
        "OPTIONS__WEIGHTS": str(HELD_BYTES),
    }.items()
} | {"OURVIDZ_DEVICE__SIMULATE_GB": "21"}
"""Two models of which the device holds one at a time."""


class Daemon:
    """One run of `python -m daemon`. Leaving the block ends it, in good order if it still runs.

    Args:
        folder: where its home, state and log are; the same folder and name, the same worker.
        environment: its settings.
        arguments: of the command line.
        secrets: what its log must not hold.
    """

    def __init__(
        self,
        folder: Path,
        environment: Mapping[str, str],
        arguments: Sequence[str] = (),
        *,
        secrets: Sequence[str] = (),
    ) -> None:
        self.mark = uuid4().hex
        self.log_path = folder / f"daemon-{self.mark[:8]}.log"
        self._folder = folder
        self._secrets = secrets
        self._arguments = arguments
        self.listen_on(free_port())
        self.environment = {
            "PATH": os.environ["PATH"],
            # The code that the tests import, not another checkout that is installed.
            "PYTHONPATH": str(Path(daemon.__file__).parents[1]),
            "HOME": str(folder),
            "OURVIDZ_WORKER_NAME": "worker",
            **USUAL,
            **environment,
            _MARK: self.mark,
        }
        self._process: asyncio.subprocess.Process | None = None
        self.expects_defects = False

    @property
    def url(self) -> str:
        """Where its side server answers."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def process(self) -> asyncio.subprocess.Process:
        """The process itself."""
        assert self._process is not None
        return self._process

    @property
    def log(self) -> str:
        """All that it wrote to stdout and stderr."""
        return self.log_path.read_text(errors="replace")

    def listen_on(self, port: int) -> None:
        """Choose another port before it starts."""
        self.port = port
        self._command = [sys.executable, "-m", "daemon", "--port", str(port), *self._arguments]

    async def start(self) -> Self:
        """Start it; whether it answers is another question."""
        self._folder.mkdir(parents=True, exist_ok=True)
        with self.log_path.open("wb") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self._command,
                env=self.environment,
                cwd=self._folder,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        return self

    async def __aenter__(self) -> Self:
        await self.start()
        try:
            await self.until_ready()
        except BaseException:
            await self._end()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._end()
        if error is None:
            self.assert_clean()

    async def until_ready(self, within_s: float = PATIENCE_S) -> None:
        """Wait until it takes jobs."""

        async def ready() -> bool:
            if self.process.returncode is not None:
                raise AssertionError(f"status {self.process.returncode}:\n{self.log[-4000:]}")
            return (await self.get("/ready"))[0] == httpx.codes.OK

        await eventually(ready, within_s, what="the daemon takes jobs")

    async def get(self, path: str, within_s: float = PATIENCE_S) -> tuple[int | None, Any]:
        """Return status and JSON body of an answer; status None: nobody answers."""
        try:
            async with httpx.AsyncClient(timeout=within_s) as client:
                response = await client.get(self.url + path)
        except httpx.TransportError:
            return None, None
        is_json = response.headers["content-type"].startswith("application/json")
        return response.status_code, response.json() if is_json else response.text

    async def metrics(self) -> dict[str, float]:
        """Return the values of its series, by name and labels as they are exposed."""
        _, text = await self.get("/metrics")
        lines = [line for line in text.splitlines() if line[:1] not in {"#", ""}]
        return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines)}

    def signal(self, number: signal.Signals) -> None:
        """Send the daemon alone a signal."""
        self.process.send_signal(number)

    async def ended(self, within_s: float = PATIENCE_S) -> int:
        """Return the exit status when it has ended by itself or by a signal."""
        async with asyncio.timeout(within_s):
            return await self.process.wait()

    async def stop(self, within_s: float = PATIENCE_S) -> int:
        """Ask it to stop, once; return its exit status."""
        self.signal(signal.SIGTERM)
        return await self.ended(within_s)

    async def kill(self) -> None:
        """Kill it as a crash or a lost host would."""
        self.signal(signal.SIGKILL)
        await self.process.wait()

    def processes(self) -> list[int]:
        """Return what lives of it: the daemon, its engines and their guards."""
        mark = f"{_MARK}={self.mark}".encode()
        return [pid for pid in _living() if mark in _read(pid, "environ").split(b"\0")]

    def engines(self) -> list[int]:
        """Return the process that holds the model, for each engine; the oldest first."""
        mine = {pid for pid in self.processes() if b"daemon.engines.child" in _read(pid, "cmdline")}
        # An engine leads its group; its guard has the same command line.
        return sorted(pid for pid in mine if os.getpgid(pid) == pid)

    def assert_clean(self) -> None:
        """Nothing of it lives, and its log tells neither secrets nor of its own defects."""
        assert self.processes() == []
        log = self.log
        told = [secret for secret in self._secrets if secret and secret in log]
        assert not told, f"secrets in {self.log_path}: {told}"
        if not self.expects_defects:
            own = [
                line
                for line in log.splitlines()
                if not any(words in line for words in (*_FOREIGN, *_OF_ENGINES))
            ]
            found = [line for line in own if any(word in line for word in _DEFECTS)]
            assert not found, f"{self.log_path}: {found}\n{log[-6000:]}"

    async def clear_away(self) -> None:
        """Leave nothing of it, whatever a test that failed left."""
        for pid in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if self._process is not None:
            await self._process.wait()

    async def _end(self) -> None:
        if self._process is None:
            return
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self.signal(signal.SIGCONT)
                self.signal(signal.SIGTERM)
            try:
                await self.ended()
            except TimeoutError:
                await self.kill()
                raise AssertionError(f"doesn't stop:\n{self.log[-4000:]}") from None
        await eventually(lambda: not self.processes(), what="no process is left")


def _living() -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError, IndexError):
            if entry.name.isdigit() and not re.search(
                r"\) [ZX] ", (entry / "stat").read_text(errors="replace")
            ):
                found.append(int(entry.name))
    return found


def _read(pid: int, name: str) -> bytes:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/{name}").read_bytes()
    return b""
