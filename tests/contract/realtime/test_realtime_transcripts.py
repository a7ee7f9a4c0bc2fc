"""Recordings of the real server, v2.129.8, played against ours.

What a client sent is sent, what was done to the database is done, and what the client received must
be received: frame by frame and in the same order on each topic. Ids, times and tokens differ; the
order of topics among one another is the real server's accident.
"""

import asyncio
import json
import re
from collections import defaultdict
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import aiohttp
import asyncpg
import jwt
import pytest
from aiohttp import WSMsgType

from devstack.realtime import RealtimeSettings
from devstack.tokens import mint

TRANSCRIPTS = Path(__file__).parents[1] / "transcripts"
DEADLINE = 10.0
SECRET = "realtime-tests-secret-of-more-than-32-bytes"
SETTINGS = {
    "poll_interval_s": 0.01,
    "idle_poll_interval_s": 0.01,
    "slot_linger_s": 0.2,
}
UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
USER = "11111111-1111-4111-8111-111111111111"
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)")
CUT = re.compile(r"(?P<start>.{60})\.\.\.<(?P<length>\d+) chars>")
AGE = re.compile(r"has expired (\d+) seconds ago")
BLOB = "jsonb_build_object('blob', string_agg(md5(i::text), ''))"
BIG = f"insert into public.jobs(user_id, job_type, metadata) select '{USER}', 'big', {BLOB} from"

# What the recorder did to the database without writing it down.
BEFORE = {
    "f03_rls_policy_owner": "create policy owner on public.jobs_rls for select to authenticated "
    "using (user_id = auth.uid())"
}
# What its notes stand for.
NOTES = {
    "insert with metadata of about 900000 bytes": f"{BIG} generate_series(1, 28125) i",
    "insert with metadata of about 1100000 bytes": f"{BIG} generate_series(1, 34375) i",
    "insert with metadata of about 3000000 bytes": f"{BIG} generate_series(1, 93750) i",
    "a 20 kB metadata row, TOASTed, then UPDATE of status": "insert into public.jobs(job_type, "
    f"metadata) select 'toast', {BLOB} from generate_series(1, 600) i",
}
CLOSING_NOTES = {"B closes its socket": "B"}
# The real server's own minute check; it came by chance in the middle of this recording.
STRAY = {("vsn2/i01_channel_lifecycle", 3.3935)}
# Hosts are tenants there, and other paths are served by others here.
FOREIGN = ('{"error":"Tenant not found"}', "Not Found")
CLOSED_BY_SERVER = {"c02_no_heartbeat_timeout": {"heartbeat_timeout_s": 0.3}}

NAMES = sorted(
    str(path.relative_to(TRANSCRIPTS).with_suffix("")) for path in TRANSCRIPTS.rglob("*.jsonl")
)


class Reader:
    """One socket and what arrived on it, by topic."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket
        self.arrived: dict[str, list[Any]] = defaultdict(list)
        self.ended = asyncio.Event()
        self._news = asyncio.Condition()

    async def run(self) -> None:
        async for message in self.socket:
            assert message.type is WSMsgType.TEXT, message
            frame = json.loads(message.data)
            async with self._news:
                self.arrived[topic_of(frame)].append(frame)
                self._news.notify_all()
        self.ended.set()

    async def next(self, topic: str) -> Any:
        async with asyncio.timeout(DEADLINE), self._news:
            await self._news.wait_for(lambda: bool(self.arrived[topic]))
            return self.arrived[topic].pop(0)

    def unread(self) -> list[Any]:
        # A wildcard binding gets the player's own mark as well.
        frames = [frame for frames in self.arrived.values() for frame in frames]
        return [frame for frame in frames if '"table": "marker"' not in json.dumps(frame)]


def topic_of(frame: Any) -> str:
    return frame["topic"] if isinstance(frame, dict) else frame[2]


class Tokens:
    """Local tokens for the recorded ones, which are only described."""

    def __init__(self) -> None:
        self._made: dict[str, str] = {}

    def put(self, value: Any) -> Any:
        """Replace each description by a token, the same one each time."""
        if isinstance(value, dict):
            return {key: self.put(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self.put(item) for item in value]
        if isinstance(value, str) and value.startswith("<JWT "):
            return self._made.setdefault(value, self._make(value))
        return value

    def _make(self, description: str) -> str:
        words = dict(re.findall(r"(\w+)=(\S+?)(?=[ >])", description))
        # The recorded ones that run out do so after 8 seconds: nobody wants to wait for that.
        lifetime = {"-60s": -60, "8s": 2}.get(words.get("ttl", ""), 3600)
        secret = (
            "another secret, and a long one as well" if "wrong secret" in description else SECRET
        )
        claims = {key: words[key] for key in ("sub", "jti") if key in words}
        token = mint(secret, words.get("role", "service_role"), None, lifetime, claims)
        missing = {"no role claim": "role", "ttl=Nones": "exp"}
        for words_of_it, claim in missing.items():
            if words_of_it in description:
                token = without(token, claim)
        return token


def without(token: str, claim: str) -> str:
    claims = jwt.decode(token, SECRET, ["HS256"], {"verify_aud": False})
    return jwt.encode({key: claims[key] for key in claims if key != claim}, SECRET, "HS256")


class Player:
    """Plays one recording."""

    def __init__(self, name: str, url: str, database: asyncpg.Connection) -> None:
        self._name = name
        self._url = url
        self._database = database
        self._tokens = Tokens()
        self._readers: dict[str, Reader] = {}
        # Recorded id -> ours, and the ids of rows that no frame has told of yet.
        self._ours: dict[Any, Any] = {}
        self._returned: list[str] = []

    async def play(self) -> None:
        lines = (TRANSCRIPTS / f"{self._name}.jsonl").read_text().splitlines()
        entries = [json.loads(line) for line in lines]
        await self._database.execute(BEFORE.get(self._name, "select"))
        async with AsyncExitStack() as self._lifetime, asyncio.TaskGroup() as self._tasks:
            self._http = await self._lifetime.enter_async_context(aiohttp.ClientSession())
            observer = await self._open("observer", {"apikey": "<JWT role=service_role>"}, {})
            binding = {"event": "*", "schema": "public", "table": "marker"}
            join = {"config": {"postgres_changes": [binding]}}
            frame = {"topic": "realtime:x", "event": "phx_join", "payload": join, "ref": "1"}
            await observer.socket.send_str(json.dumps(frame))
            for _ in ("reply", "system"):
                await observer.next("realtime:x")
            for entry in entries:
                await self._step(entry)
            for reader in self._readers.values():
                await reader.socket.close()

    async def _step(self, entry: dict[str, Any]) -> None:
        frame, client = entry["frame"], entry.get("client", "")
        match entry["dir"]:
            case "handshake" if frame.get("body") not in FOREIGN:
                await self._shake(client, frame)
            case "send":
                data = frame if isinstance(frame, str) else json.dumps(self._tokens.put(frame))
                await self._readers[client].socket.send_str(data)
            case "recv" if (self._name, entry["t"]) not in STRAY:
                self._compare(frame, await self._readers[client].next(topic_of(frame)))
            case "sql":
                await self._execute(frame)
            case "note" if frame in NOTES:
                await self._execute(NOTES[frame])
            case "note" if frame in CLOSING_NOTES:
                await self._readers[CLOSING_NOTES[frame]].socket.close()
            case "close":
                await self._close(client, frame)

    async def _shake(self, client: str, recorded: dict[str, Any]) -> None:
        query = dict(parse_qsl(urlsplit(recorded["url"]).query, keep_blank_values=True))
        if recorded["status"] == 101:
            headers = {}
            if "apikey" not in query:
                headers["x-api-key"] = self._tokens.put("<JWT role=service_role>")
            await self._open(client, query, headers)
            return
        headers = {"Connection": "Upgrade", "Upgrade": "websocket"}
        headers |= {"Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}
        query = self._tokens.put(query)
        async with self._http.get(self._url, params=query, headers=headers) as answer:
            body = (await answer.text()).replace(" ", "")
            assert (answer.status, body) == (recorded["status"], recorded["body"].replace(" ", ""))

    async def _open(self, client: str, query: dict[str, str], headers: dict[str, str]) -> Reader:
        query = self._tokens.put(query)
        socket = await self._http.ws_connect(
            self._url, params=query, headers=headers, max_msg_size=0
        )
        self._readers[client] = reader = Reader(socket)
        self._tasks.create_task(reader.run())
        return reader

    async def _execute(self, statement: str) -> None:
        for recorded in UUID.findall(statement):
            if recorded != USER:
                if recorded not in self._ours:
                    # A row whose insert nobody was told of: it must be the one left over.
                    (self._ours[recorded],) = self._returned
                    self._returned.clear()
                statement = statement.replace(recorded, self._ours[recorded])
        rows = await self._database.fetch(statement)
        self._returned += [str(row["id"]) for row in rows]

    async def _close(self, client: str, recorded: dict[str, Any]) -> None:
        reader = self._readers[client]
        if self._name in CLOSED_BY_SERVER:
            async with asyncio.timeout(DEADLINE):
                await reader.ended.wait()
            assert reader.socket.close_code == recorded["code"]
        await self._flush()
        await reader.socket.close()

    async def _flush(self) -> None:
        """See that nothing more has come than was recorded."""
        if self._readers["observer"].socket.closed:
            return
        await self._database.execute("insert into public.marker default values")
        await self._readers["observer"].next("realtime:x")
        for client, reader in self._readers.items():
            if not reader.socket.closed and client != "observer":
                version = reader.socket._response.url.query.get("vsn")
                beat: Any = [None, "flush", "phoenix", "heartbeat", {}]
                if version != "2.0.0":
                    beat = dict(zip(("ref", "topic", "event", "payload"), beat[1:], strict=True))
                await reader.socket.send_str(json.dumps(beat))
                await reader.next("phoenix")
            assert reader.unread() == []

    def _compare(self, recorded: Any, ours: Any, key: str = "", above: str = "") -> None:
        where = (self._name, above, key, recorded, ours)
        if isinstance(recorded, dict):
            assert isinstance(ours, dict), where
            assert recorded.keys() == ours.keys(), where
            for name in recorded:
                self._compare(recorded[name], ours[name], name, key)
        elif key == "ids":
            assert sorted(self._ours[number] for number in recorded) == sorted(ours), where
        elif isinstance(recorded, list):
            assert isinstance(ours, list), where
            assert len(recorded) == len(ours), where
            for left, right in zip(recorded, ours, strict=True):
                self._compare(left, right, key, above)
        elif key in ("phx_ref", "phx_ref_prev") or (key, above) == ("id", "postgres_changes"):
            assert self._ours.setdefault(recorded, ours) == ours, where
        elif isinstance(recorded, str):
            assert isinstance(ours, str), where
            assert self._same_text(recorded, ours, key), where
        else:
            assert (recorded, type(recorded)) == (ours, type(ours)), where

    def _same_text(self, recorded: str, ours: str, key: str) -> bool:
        if key in ("created_at", "commit_timestamp"):
            return bool(TIME.fullmatch(recorded) and TIME.fullmatch(ours))
        if UUID.fullmatch(recorded) and recorded != USER:
            if ours in self._returned:
                self._returned.remove(ours)
            return self._ours.setdefault(recorded, ours) == ours
        if cut := CUT.fullmatch(recorded):
            return ours.startswith(cut["start"]) and len(ours) == int(cut["length"])
        if (age := AGE.search(recorded)) and (our_age := AGE.search(ours)):
            return abs(int(age[1]) - int(our_age[1])) <= 2
        return recorded == ours


@pytest.mark.parametrize("name", NAMES)
async def test_recording(
    name: str, serve: Callable[..., Any], database: asyncpg.Connection
) -> None:
    """The server answers as the recorded one did."""
    settings = RealtimeSettings(**SETTINGS, **CLOSED_BY_SERVER.get(name, {}))
    server = await serve(settings)

    await Player(name, f"{server.url}/realtime/v1/websocket", database).play()
