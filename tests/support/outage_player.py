"""Plays a recording of an outage against our server, many times faster than it was recorded.

What the server says between rows must be the same, field by field and in the same order. Of rows,
how many are lost depends on the moment. Where the recorded stream heard all from one action to the
next, or none, ours must as well; where it heard some, ours may have lost one run of them, and must
hear the last if the recorded one did.
"""

import asyncio
import json
import re
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import asyncpg
from aiohttp import WSMsgType
from outage_recording import BURST, Item, Phase, Recording, Segment, Stream, heard_item
from recorded_client import Tokens
from recorded_frames import compare

DEADLINE_S = 60.0
SPEED = 100
"""How many times faster."""
LONGEST_PAUSE_S = 0.02
AGAIN_S = 0.1


class Client:
    """One socket: what it heard of each stream, and what else it was sent on each topic."""

    def __init__(
        self, name: str, socket: aiohttp.ClientWebSocketResponse, times: Counter[Item]
    ) -> None:
        self.socket = socket
        self._times = times
        self.heard: dict[Stream, list[tuple[Item, Any]]] = {}
        self.said: dict[str, asyncio.Queue[Any]] = {}
        self.news = asyncio.Event()
        self.code: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._name = name

    async def run(self) -> None:
        while (message := await self.socket.receive()).type is WSMsgType.TEXT:
            frame = json.loads(message.data)
            if item := heard_item(frame):
                stream = Stream(self._name, frame["topic"], item.kind)
                entry = (item._replace(nth=self._times[item]), frame)
                self.heard.setdefault(stream, []).append(entry)
            else:
                self.topic(frame["topic"]).put_nowait(frame)
            self.news.set()
        self.code.set_result(message.data if message.type is WSMsgType.CLOSE else 1006)

    def topic(self, topic: str) -> "asyncio.Queue[Any]":
        return self.said.setdefault(topic, asyncio.Queue())


@dataclass
class World:
    """What a recording can do things to.

    Attributes:
        url: Of the websocket.
        dsn: A superuser's.
        notes: What to do where the recorder noted that it did something.
        before: What to do before a statement or frame; for what the recorder didn't note.
        clock: Told the recorded time before each line.
        settle: Waits until nothing is under way, before a mark that would change its fate.
    """

    url: str
    dsn: str
    notes: dict[str, Callable[[], Awaitable[None]]]
    before: dict[str, Callable[[], Awaitable[None]]] = field(default_factory=dict)
    clock: Callable[[float], None] = lambda _: None
    settle: Callable[[], Awaitable[None]] | None = None


class OutagePlayer:
    """Plays one recording.

    Args:
        recording: To be played.
        world: Where.
        free: The kinds of which, where the recorded server lost any, ours may lose others: what it
            lost was an accident of its timing.
    """

    def __init__(
        self, recording: Recording, world: World, free: frozenset[str] = frozenset()
    ) -> None:
        self._recording = recording
        self._world = world
        self._free = free
        self._clients: dict[str, Client] = {}
        self._former: list[Client] = []
        self._tokens = Tokens()
        self._database: asyncpg.Connection[Any] | None = None
        self.lost = 0
        """Items that a stream which was told that it hears didn't hear."""
        self._time = 0.0
        self._times: Counter[Item] = Counter()

    async def play(self) -> None:
        async with AsyncExitStack() as lifetime, asyncio.TaskGroup() as self._tasks:
            self._http = await lifetime.enter_async_context(aiohttp.ClientSession())
            for phase in self._recording.phases:
                await self._follow(phase.mark)
                for t, statement, item in phase.done:
                    self._times[item._replace(nth=1)] += 1
                    await self._do(t, statement, item)
                await self._settle(phase)
            for client in self._clients.values():
                await client.socket.close()
            if self._database is not None:
                await self._database.close()
        self._judge()

    async def execute(self, statement: str) -> None:
        """Run a statement on a connection that survives nothing and is made anew."""
        if self._database is None or self._database.is_closed():
            self._database = await asyncpg.connect(self._world.dsn)
        await self._database.execute(statement)

    async def _do(self, t: float, statement: str, item: Item) -> None:
        await asyncio.sleep(min((t - self._time) / SPEED, LONGEST_PAUSE_S))
        self._time = t
        self._world.clock(t)
        for words, action in self._world.before.items():
            if words in statement:
                await action()
        if item.label.startswith("w") and statement.startswith("insert w"):
            statement = f"insert into public.jobs(job_type) values ('{item.label}')"
        await self.execute(statement)

    async def _follow(self, mark: dict[str, Any]) -> None:
        client, frame = mark.get("client", ""), mark["frame"]
        self._time = mark["t"]
        self._world.clock(mark["t"])
        match mark["dir"]:
            case "handshake":
                await self._open(client, frame)
            case "send":
                text = json.dumps(self._tokens.put(frame))
                await self._clients[client].socket.send_str(text)
            case "recv":
                await self._expect(self._clients[client], frame)
            case "sql":
                await self.execute(frame)
                if BURST in frame:
                    await self._burst(int(re.findall(r"\d+", frame)[-1]))
            case "note" if mark["t"] > 0:  # The first one is the recording's title.
                await self._act(frame)
            case "close":
                await self._close(self._clients[client], frame["code"])

    async def _expect(self, client: Client, frame: Any) -> None:
        for words, action in self._world.before.items():
            if words in json.dumps(frame):
                await action()
        async with asyncio.timeout(DEADLINE_S):
            ours = await client.topic(frame["topic"]).get()
        compare(frame, ours)

    async def _act(self, note: str) -> None:
        for words, action in self._world.notes.items():
            if words in note:
                await action()
                return

    async def _open(self, name: str, recorded: dict[str, Any]) -> None:
        query = self._tokens.put({"apikey": "<JWT role=service_role>", "vsn": "1.0.0"})
        if "role=anon" in recorded["url"]:
            query = self._tokens.put({"apikey": "<JWT role=anon>", "vsn": "1.0.0"})
        socket = await self._http.ws_connect(self._world.url, params=query, max_msg_size=0)
        if name in self._clients:
            self._former.append(self._clients[name])
        self._clients[name] = client = Client(name, socket, self._times)
        self._tasks.create_task(client.run())

    async def _close(self, client: Client, code: int) -> None:
        if code != 1000:
            async with asyncio.timeout(DEADLINE_S):
                assert await client.code == code
            return
        await client.socket.send_str(
            json.dumps({"topic": "phoenix", "event": "heartbeat", "payload": {}, "ref": "last"})
        )
        async with asyncio.timeout(DEADLINE_S):
            assert (await client.topic("phoenix").get())["ref"] == "last"
        assert {topic: frames.qsize() for topic, frames in client.said.items()} == (
            dict.fromkeys(client.said, 0)
        )
        await client.socket.close()

    async def _burst(self, count: int) -> None:
        (client,) = self._clients.values()
        async with asyncio.timeout(3 * DEADLINE_S):
            while sum(len(heard) for heard in client.heard.values()) <= count:
                client.news.clear()
                await client.news.wait()
        for heard in client.heard.values():
            heard[:] = [entry for entry in heard if entry[0].label != BURST]

    async def flood(self, count: int, topic: str) -> None:
        """Send broadcasts on the only client's channel and wait until all have come back."""
        (client,) = self._clients.values()
        frame = {"topic": topic, "event": "broadcast", "payload": {"event": "x", "payload": {}}}
        for _ in range(count):
            await client.socket.send_str(json.dumps(frame | {"ref": "flood", "join_ref": "1"}))
        async with asyncio.timeout(DEADLINE_S):
            for _ in range(count):
                assert (await client.topic(topic).get())["event"] == "broadcast"

    async def _settle(self, phase: Phase) -> None:
        """Wait for the last row where the recorded server came back to tell of it."""
        if self._world.settle is not None and phase.done:
            await self._world.settle()
        for stream in phase.ready:
            items = phase.items(stream.kind)
            recorded = [item for item in items if (stream, item) in self._recording.frames]
            if not recorded:
                continue
            (segment,) = [s for s in self._recording.segments(stream) if items[-1] in s.done]
            if segment.lossless:
                # It must come by itself, and once.
                await self._until_heard(stream, recorded[-1], None)
            elif recorded[-1] == items[-1] and stream.kind not in self._free:
                (statement,) = [done for _, done, item in phase.done if item == items[-1]]
                await self._until_heard(stream, items[-1], statement)

    async def _until_heard(self, stream: Stream, item: Item, again: str | None) -> None:
        """Wait for an item; do it again and again where the server may still be deaf."""
        client = self._clients[stream.client]
        deadline = asyncio.get_running_loop().time() + DEADLINE_S
        while item not in [told for told, _ in client.heard.get(stream, ())]:
            assert asyncio.get_running_loop().time() < deadline, (stream, item, "never heard")
            client.news.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(AGAIN_S):
                    await client.news.wait()
                continue
            if again is not None:
                await self._do(self._time, again, item)

    def _judge(self) -> None:
        """Compare what each stream heard, when nothing more can come."""
        ours: dict[Stream, list[Item]] = defaultdict(list)
        for client in (*self._former, *self._clients.values()):
            for stream, heard in client.heard.items():
                for item, frame in heard:
                    if item not in ours[stream]:
                        ours[stream].append(item)
                    if (stream, item) in self._recording.frames:
                        compare(self._recording.frames[stream, item], frame)
        for stream in self._recording.streams() | ours.keys():
            done = [item for phase in self._recording.phases for item in phase.items(stream.kind)]
            assert ours[stream] == [item for item in done if item in set(ours[stream])], stream
            for segment in self._recording.segments(stream):
                self._judge_segment(segment, stream, set(ours[stream]))

    def _judge_segment(self, segment: Segment, stream: Stream, told: set[Item]) -> None:
        done, recorded = segment.done, segment.heard
        found = [item for item in done if item in told]
        where = (stream, "done:", done, "recorded:", recorded, "ours:", found)
        if recorded != done and stream.kind in self._free:
            return
        if not segment.ready:
            # Before the server's word some may come, but not the first.
            assert done[0] not in found or done[0] in recorded, where
        elif recorded == done or not recorded:
            assert found == recorded, where
        elif segment.lossless:
            assert found in (done, recorded), where
        else:
            assert (done[-1] in found) == (done[-1] in recorded), where
        lost = [place for place, item in enumerate(done) if item not in told]
        self.lost += len(lost) if segment.ready else 0
        assert not lost or lost == list(range(lost[0], lost[-1] + 1)), where
