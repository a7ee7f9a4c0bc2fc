"""Plays a recording of the real server, v2.129.8, against ours.

What a client sent is sent, what was done to the database is done, and what the client received must
be received: frame by frame and in the same order on each topic. Ids, times and tokens differ; the
order of topics among one another is the real server's accident.
"""

import asyncio
import itertools
import json
import re
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import aiohttp
import asyncpg
from recorded_client import DEADLINE, Binary, Reader, Tokens, topic_of

TRANSCRIPTS = Path(__file__).parents[1] / "contract" / "transcripts"
UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
USER = "11111111-1111-4111-8111-111111111111"
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)")
CUT = re.compile(r"(?P<start>.{60})\.\.\.<(?P<length>\d+) chars>")
AGE = re.compile(r"has expired (\d+) seconds ago")
BLOB = "jsonb_build_object('blob', string_agg(md5(i::text), ''))"
BIG = f"insert into public.jobs(user_id, job_type, metadata) select '{USER}', 'big', {BLOB} from"

P_READ = "create policy p_read on realtime.messages for select to authenticated"
# What the recorder did to the database without writing it down.
BEFORE = {
    "f03_rls_policy_owner": "create policy owner on public.jobs_rls for select to authenticated "
    "using (user_id = auth.uid())",
    "m02_private_policy_revoked": f"{P_READ} using (realtime.topic() like 'user:%')",
    # It was recorded while the publication was missing.
    "vsn2/m01_private_join": "alter publication supabase_realtime drop table public.jobs",
    "n02_broadcast_changes": """
        create function public.tell() returns trigger language plpgsql as $$
        begin
            perform realtime.broadcast_changes(
                'jobs:' || coalesce(new.user_id, old.user_id), tg_op, tg_op, tg_table_name,
                tg_table_schema, new, old
            );
            return null;
        end
        $$;
        create trigger tell after insert or update or delete on public.jobs_full for each row
        execute function public.tell()
    """,
}
# What its notes stand for.
NOTES = {
    "insert with metadata of about 900000 bytes": f"{BIG} generate_series(1, 28125) i",
    "insert with metadata of about 1100000 bytes": f"{BIG} generate_series(1, 34375) i",
    "insert with metadata of about 3000000 bytes": f"{BIG} generate_series(1, 93750) i",
    "a 20 kB metadata row, TOASTed, then UPDATE of status": "insert into public.jobs(job_type, "
    f"metadata) select 'toast', {BLOB} from generate_series(1, 600) i",
}
NOTES["policies dropped"] = "drop policy p_read on realtime.messages"
# The statements that follow these are one transaction, which ends so.
TRANSACTIONS = {
    "three sends in one transaction": "commit",
    "rolled back": "rollback",
    "as role authenticated (grants of realtime.send)": "commit",
}
SENDS = re.compile(r"30 sends i=0..29 to (?P<topic>\S+) between since=")
# How many come live depends on the moment: `test_realtime_messages.py` has it.
ENDS = "replay and live: 5 sends, join with replay, 5 more while joining; no duplicate?"
RESUMES = "select realtime.send('{\"i\": 26}', 'job', 'bk', true)"
LISTENS = """
select count(*) from pg_stat_activity
where application_name = 'realtime_replication_connection' and state = 'idle'
    and query ilike 'listen%'
"""
CLOSING_NOTES = {"B closes its socket": "B"}
STRAY = {
    # The real server's own minute check; it came by chance in the middle of this recording.
    ("vsn2/i01_channel_lifecycle", 3.3935),
    # Rows of another recording that was made at the same time.
    ("vsn2/c02_no_heartbeat_timeout", 10.1681),
    ("vsn2/c02_no_heartbeat_timeout", 64.327),
}
# Hosts are tenants there, and other paths are served by others here.
FOREIGN = ('{"error":"Tenant not found"}', "Not Found")
CLOSED_BY_SERVER = {
    name: {"heartbeat_timeout_s": 0.3}
    for name in ("c02_no_heartbeat_timeout", "vsn2/c02_no_heartbeat_timeout")
}


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
        self._ending = ""

    async def play(self) -> None:
        lines = (TRANSCRIPTS / f"{self._name}.jsonl").read_text().splitlines()
        entries = [json.loads(line) for line in lines]
        await self._database.execute(BEFORE.get(self._name, "select"))
        async with AsyncExitStack() as self._lifetime, asyncio.TaskGroup() as self._tasks:
            self._http = await self._lifetime.enter_async_context(aiohttp.ClientSession())
            observer = await self._open("observer", {"apikey": "<JWT role=service_role>"}, {})
            binding = {"event": "*", "schema": "public", "table": "marker"}
            ready = {"broadcast": {"replication_ready": True}, "private": True}
            for topic, config in (("x", {"postgres_changes": [binding]}), ("flush", ready)):
                join = {"config": config}
                frame = {"topic": f"realtime:{topic}", "event": "phx_join", "payload": join}
                await observer.socket.send_str(json.dumps(frame | {"ref": "1"}))
                for _ in ("reply", "system"):
                    await observer.next(f"realtime:{topic}")
            for entry in itertools.takewhile(lambda entry: entry["frame"] != ENDS, entries):
                await self._step(entry)
            await self._flush()
            for reader in self._readers.values():
                await reader.socket.close()

    async def _step(self, entry: dict[str, Any]) -> None:
        frame, client = entry["frame"], entry.get("client", "")
        if entry["dir"] != "sql" and self._ending:
            await self._database.execute(self._ending)
            self._ending = ""
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
            case "note":
                await self._follow(frame)
            case "close":
                await self._close(client, frame)

    async def _follow(self, frame: str) -> None:
        """Do what the recorder noted that it did."""
        if frame in NOTES:
            await self._execute(NOTES[frame])
        elif frame in TRANSACTIONS:
            self._ending = TRANSACTIONS[frame]
            await self._database.execute("begin")
        elif sends := SENDS.match(frame):
            await self._send_thirty(sends["topic"])
        elif frame in CLOSING_NOTES:
            await self._readers[CLOSING_NOTES[frame]].socket.close()

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

    async def _send_thirty(self, topic: str) -> None:
        self._tokens.begin()
        send = "select realtime.send(jsonb_build_object('i', $1::integer), 'job', $2, $3)"
        for number in range(30):
            await self._database.execute(send, number, topic, True)
        await self._database.execute(send, 30, topic, False)

    async def _execute(self, statement: str) -> None:
        if "pg_terminate_backend" in statement:
            self._tokens.begin()
        if statement == RESUMES:
            async with asyncio.timeout(DEADLINE):
                while not await self._database.fetchval(LISTENS):
                    await asyncio.sleep(0.01)
        for recorded in UUID.findall(statement):
            if recorded != USER:
                if recorded not in self._ours:
                    # A row whose insert nobody was told of: it must be the one left over.
                    (self._ours[recorded],) = self._returned
                    self._returned.clear()
                statement = statement.replace(recorded, self._ours[recorded])
        rows = await self._database.fetch(statement)
        if self._name.endswith("n01_db_broadcast") and not self._ending:
            # The recorder waited for seconds to see that nothing came.
            await self._flush_messages()
        self._returned += [str(row["id"]) for row in rows if "id" in row]

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
        await self._flush_messages()
        for client, reader in self._readers.items():
            if not reader.socket.closed and client != "observer":
                version = reader.socket._response.url.query.get("vsn")
                beat: Any = [None, "flush", "phoenix", "heartbeat", {}]
                if version != "2.0.0":
                    beat = dict(zip(("ref", "topic", "event", "payload"), beat[1:], strict=True))
                await reader.socket.send_str(json.dumps(beat))
                await reader.next("phoenix")
            assert reader.unread() == []

    async def _flush_messages(self) -> None:
        """See that what the database has sent before is delivered; it comes another way."""
        await self._database.execute("select realtime.send('{}', 'flush', 'flush', true)")
        await self._readers["observer"].next("realtime:flush")

    def _compare(self, recorded: Any, ours: Any, key: str = "", above: str = "") -> None:
        where = (self._name, above, key, recorded, ours)
        if isinstance(ours, Binary):
            self._compare_binary(recorded["__binary_hex__"], ours)
        elif isinstance(recorded, dict):
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

    def _compare_binary(self, recorded: str, ours: Binary) -> None:
        if cut := CUT.fullmatch(recorded):
            assert ours.data.hex().startswith(cut["start"])
            assert len(ours.data.hex()) == int(cut["length"])
        else:
            self._compare(Binary(bytes.fromhex(recorded)).content(), ours.content())

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
            return abs(int(age[1]) - int(our_age[1])) <= 30
        return recorded == ours
