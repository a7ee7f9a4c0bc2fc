"""systemd's side of sd_notify: a socket that keeps what the daemon says, in order."""

import asyncio
import socket
from pathlib import Path
from types import TracebackType
from typing import Self

from eventually import PATIENCE_S, eventually


class NotifySocket:
    """Listens for the block.

    Args:
        folder: where the socket is made; a path may have 107 characters.
    """

    def __init__(self, folder: Path) -> None:
        self.address = str(folder / "n")
        self.notices: list[list[str]] = []
        """Each datagram's lines."""
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)

    @property
    def words(self) -> list[str]:
        """What was said of the unit's state, but for the watchdog."""
        first = [notice[0] for notice in self.notices]
        return [word for word in first if word.endswith("=1") and word != "WATCHDOG=1"]

    @property
    def feeds(self) -> int:
        """How often the watchdog was fed."""
        return sum(notice == ["WATCHDOG=1"] for notice in self.notices)

    async def until(self, *words: str, within_s: float = PATIENCE_S) -> None:
        """Wait until exactly these were said."""
        await eventually(lambda: self.words == list(words), within_s, what=f"said {words}")

    async def __aenter__(self) -> Self:
        self._socket.bind(self.address)
        self._socket.setblocking(False)
        asyncio.get_running_loop().add_reader(self._socket, self._take)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        asyncio.get_running_loop().remove_reader(self._socket)
        self._socket.close()

    def _take(self) -> None:
        self.notices.append(self._socket.recv(4096).decode().split("\n"))
