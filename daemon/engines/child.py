"""The engine's process: `python -m daemon.engines.child <connection> <lifeline>`.

It reads messages, loads one model and runs handlers on it in threads. It ends by `Shutdown`, or
with its whole group when the daemon is gone. Model libraries are imported by `handlers.registry`
alone, when the model is loaded.
"""

import asyncio
import logging
import os
import signal
import socket
import sys

from daemon.engines import protocol
from daemon.engines.guard import start_guard
from daemon.engines.model_side import ModelSide
from daemon.engines.outbox import Outbox
from daemon.engines.telling import LineFormatter
from handlers.base import ModelSpec

_READ_BYTES = 2**20
_log = logging.getLogger("engine")


def main() -> None:
    """Serve the daemon on the connection named on the command line."""
    connection, lifeline = int(sys.argv[1]), int(sys.argv[2])
    start_guard(lifeline, connection)
    lines = logging.StreamHandler(sys.stderr)
    lines.setFormatter(LineFormatter())
    logging.basicConfig(level=logging.INFO, handlers=[lines])
    ended_well = asyncio.run(_serve(socket.socket(fileno=connection)))
    sys.stderr.flush()
    if not ended_well:
        os.killpg(0, signal.SIGKILL)
    # Not a normal exit: libraries' threads and finalizers have been seen to hang there.
    os._exit(0)


async def _serve(connection: socket.socket) -> bool:
    """Serve until `Shutdown`; return whether it came."""
    reader, writer = await asyncio.open_connection(sock=connection)
    outbox = Outbox(writer)
    sending = asyncio.create_task(outbox.send_forever())
    sending.add_done_callback(_end_if_it_failed)
    model_side = ModelSide(outbox)
    outbox.post(protocol.Hello())
    try:
        if not await _read(reader, model_side):
            return False
        await model_side.close()
        await outbox.sent()
    except ConnectionError:
        return False
    return True


async def _read(reader: asyncio.StreamReader, model_side: ModelSide) -> bool:
    frames = protocol.reader_of_daemon()
    while data := await reader.read(_READ_BYTES):
        for message in frames.feed(data):
            match message:
                case protocol.Load():
                    fields = {name: getattr(message, name) for name in message.__struct_fields__}
                    model_side.load(ModelSpec(**fields))
                case protocol.Run():
                    model_side.run(message)
                case protocol.Cancel(run_id=run_id):
                    model_side.cancel(run_id)
                case protocol.Offload():
                    model_side.offload()
                case protocol.Restore():
                    model_side.restore()
                case protocol.Ping(number=number):
                    model_side.answer(number)
                case protocol.Shutdown():
                    return True
    return False


def _end_if_it_failed(sending: "asyncio.Task[None]") -> None:
    """End the group when nothing can be sent any more; nobody would hear of it."""
    if not sending.cancelled() and sending.exception() is not None:
        os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    main()
