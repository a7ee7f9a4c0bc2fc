"""An engine that says whatever it was told to: a real process, for what a sound one never does.

    python rogue_engine.py <connection> <lifeline> <what it says>

The last argument is JSON: by the tag of each message that comes, the messages that answer it. An
answer `{"type": "silence"}` closes nothing and ends nothing: the process sleeps from then on, as
long as the daemon lives.
"""

import json
import os
import signal
import socket
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

Says = dict[str, list[dict[str, Any]]]

LOADED = {"type": "loaded", "weights_bytes": 2**20, "seconds": 0.5}


def command_of(says: Says) -> Callable[[int, int], list[str]]:
    """Return what stands in the place of `daemon.engines.surroundings.engine_command`."""
    script = json.dumps(says)
    return lambda connection, lifeline: [
        sys.executable, str(Path(__file__)), str(connection), str(lifeline), script,
    ]  # fmt: skip


def main() -> None:
    """Answer until the connection closes."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    connection = socket.socket(fileno=int(sys.argv[1]))
    says: Says = json.loads(sys.argv[3])
    _say(connection, {"type": "hello", "version": 4})
    with connection.makefile("rb") as stream:
        while len(head := stream.read(4)) == 4:
            message = msgspec.msgpack.decode(stream.read(struct.unpack(">I", head)[0]))
            if message["type"] == "shutdown":
                os._exit(0)
            for answer in says.get(message["type"], []):
                if answer["type"] == "silence":
                    os.read(int(sys.argv[2]), 1)  # until the daemon is gone
                    os._exit(0)
                _say(connection, {"run_id": message.get("run_id"), **answer})


def _say(connection: socket.socket, message: dict[str, Any]) -> None:
    body = msgspec.msgpack.encode(message)
    connection.sendall(struct.pack(">I", len(body)) + body)


if __name__ == "__main__":
    main()
