"""The fair order among users, and that a claim reads no more of the queue than it needs."""

import json
from typing import Any
from uuid import UUID, uuid4

import pytest
from jobs_database import ALICE, BOB, JobsDatabase

pytestmark = pytest.mark.asyncio(loop_scope="session")

CAROL = UUID(int=0xC)
EVERY_TYPE = ["chat", "sdxl_image_fast", "video_fast", "video_high", "wan_image_high"]


async def claimed(database: JobsDatabase, *job_types: str, count: int = 1) -> list[UUID]:
    """Claim in one call and return the rows' ids in order."""
    demands = json.dumps([{"job_types": job_types or EVERY_TYPE, "count": count}])
    rows = await database.owner.fetch(
        "select id from claim_jobs('w', $1, $2, $3, 12)", uuid4(), uuid4(), demands
    )
    return [UUID(str(row["id"])) for row in rows]


async def names_of(database: JobsDatabase, ids: list[UUID]) -> str:
    """Return whose jobs these are, a letter each."""
    letters = {ALICE: "a", BOB: "b", CAROL: "c", None: "-"}
    return "".join([letters[(await database.row(job_id))["user_id"]] for job_id in ids])


async def insert(database: JobsDatabase, job_type: str, *users: UUID | None) -> list[UUID]:
    """Insert jobs a second apart."""
    ids = []
    for user in users:
        ids.append(await database.insert(job_type, user_id=user))
        await database.pass_time(1)
    return ids


async def test_users_alternate(database: JobsDatabase) -> None:
    """Six jobs of one and three of another take turns from the first on."""
    await insert(database, "chat", *[ALICE] * 6, *[BOB] * 3)

    assert await names_of(database, await claimed(database, count=9)) == "ababab" + "aaa"


async def test_who_comes_later_doesn_t_catch_up_on_the_past(database: JobsDatabase) -> None:
    """A newcomer starts where the queue is: he shares from now, and doesn't overtake all."""
    await insert(database, "chat", *[ALICE] * 6)
    await claimed(database, count=3)
    await insert(database, "chat", *[BOB] * 3)

    assert await names_of(database, await claimed(database, count=6)) == "ababab"


async def test_share_is_of_seconds_not_of_jobs(database: JobsDatabase) -> None:
    """While one user's two-minute video runs, another gets twelve answers of ten seconds."""
    await insert(database, "video_high", *[ALICE] * 2)
    await insert(database, "chat", *[BOB] * 20)

    order = await names_of(database, await claimed(database, count=22))
    assert order.index("a", 1) == 13


async def test_rows_without_a_user_are_one_user(database: JobsDatabase) -> None:
    """Nobody in particular can't take everybody's turn."""
    await insert(database, "chat", *[None] * 3, ALICE)

    assert await names_of(database, await claimed(database, count=4)) == "-a--"


async def test_what_runs_counts_as_its_users_share(database: JobsDatabase) -> None:
    """A user whose jobs run comes after one who has nothing yet."""
    await insert(database, "chat", ALICE, ALICE, CAROL)
    await claimed(database, count=2)
    await insert(database, "chat", ALICE, BOB)

    assert await names_of(database, await claimed(database, count=3)) == "aba"


async def test_delayed_job_doesn_t_hold_the_queue_s_tag_back(database: JobsDatabase) -> None:
    """A job for next week with a low tag gives newcomers no advantage."""
    await insert(database, "chat", CAROL)
    await database.owner.execute("update jobs set run_after = ourvidz_now() + interval '6 days'")
    await insert(database, "chat", *[ALICE] * 4)
    await claimed(database, count=2)
    [newcomer] = await insert(database, "chat", BOB)
    lowest_due = await database.owner.fetchval(
        "select min(fair_tag) from jobs where status = 'queued' and user_id = $1", ALICE
    )

    assert (await database.row(newcomer))["fair_tag"] == lowest_due


async def explained(database: JobsDatabase, query: str, *args: Any) -> dict[str, Any]:
    """Run a query and return its plan with what it really read."""
    text = await database.owner.fetchval(
        f"explain (analyze, buffers, timing off, format json) {query}", *args
    )
    plan: dict[str, Any] = json.loads(text)[0]["Plan"]
    return plan


def nodes(plan: dict[str, Any]) -> list[dict[str, Any]]:
    """Return all nodes of a plan."""
    return [plan, *(node for child in plan.get("Plans", []) for node in nodes(child))]


NEXT_JOBS = "select id from ourvidz.next_jobs($1, 9, ourvidz_now())"


async def fill(database: JobsDatabase, job_type: str, count: int, more: str = "") -> None:
    """Queue many jobs of twenty users, without a word to the planner."""
    await database.owner.execute(
        "insert into jobs (job_type, user_id, run_after) "
        f"select $1, lpad((n % 20)::text, 32, '0')::uuid, ourvidz_now() {more} "
        "from generate_series(1, $2::integer) n", job_type, count,
    )  # fmt: skip


@pytest.mark.parametrize("analyzed", [False, True])
async def test_long_queue_of_videos_costs_a_chat_nothing(
    database: JobsDatabase, analyzed: bool
) -> None:
    """Ten thousand queued videos: the claim's index is used, and a few pages of it are read."""
    await fill(database, "video_fast", 10_000)
    await fill(database, "chat", 5)
    if analyzed:
        await database.owner.execute("analyze jobs")

    plan = await explained(database, NEXT_JOBS, ["chat", "enhance", "generate"])
    videos = await explained(database, NEXT_JOBS, ["video_fast", "video_high"])

    for found, rows in ((plan, 5), (videos, 9)):
        [scan] = [node for node in nodes(found) if node.get("Relation Name") == "jobs"]
        assert scan["Index Name"] == "jobs_claim_order"
        assert round(scan["Actual Rows"] * scan["Actual Loops"]) <= rows
        assert scan.get("Rows Removed by Filter", 0) == 0
        assert found["Shared Hit Blocks"] + found["Shared Read Blocks"] < 40


async def test_delayed_jobs_are_passed_over_inside_the_index(database: JobsDatabase) -> None:
    """Thousands of jobs for tomorrow are skipped without a look at the table."""
    await fill(database, "chat", 5_000, "+ interval '1 day'")
    [due] = await insert(database, "chat", BOB)

    plan = await explained(database, NEXT_JOBS, ["chat"])

    [scan] = [node for node in nodes(plan) if node.get("Relation Name") == "jobs"]
    assert "run_after" in scan["Index Cond"]
    assert scan.get("Rows Removed by Filter", 0) == 0
    assert await claimed(database, count=3) == [due]


async def test_a_whole_claim_reads_a_bounded_number_of_rows(database: JobsDatabase) -> None:
    """Counted by the server's own statistics, for everything that claim_jobs does."""
    await fill(database, "video_fast", 10_000)

    async def reads() -> Any:
        # The server counts a session's reads when the session is told to hand them in.
        await database.owner.execute("select pg_stat_force_next_flush()")
        async with database.session() as fresh:
            return await fresh.fetchrow(
                "select idx_tup_fetch + seq_tup_read as fetched, seq_scan "
                "from pg_stat_user_tables where relname = 'jobs'"
            )

    await claimed(database, "video_fast")
    before = await reads()
    await claimed(database, "video_fast", "video_high", count=2)
    after = await reads()

    assert 0 < after["fetched"] - before["fetched"] < 100
    assert after["seq_scan"] == before["seq_scan"]


@pytest.mark.parametrize("analyzed", [False, True])
@pytest.mark.parametrize(("count", "pages"), [(1, 200), (50, 3000)])
async def test_a_whole_claim_reads_a_bounded_number_of_pages(
    database: JobsDatabase, analyzed: bool, count: int, pages: int
) -> None:
    """The rows of a claim are found by their ids: no plan reads the queue's index to its end."""
    await fill(database, "chat", 10_000)
    if analyzed:
        await database.owner.execute("analyze jobs")
    demands = json.dumps([{"job_types": ["chat", "enhance"], "count": count}])
    call = "select * from claim_jobs('w', gen_random_uuid(), gen_random_uuid(), $1, 12)"

    read = []
    for _ in range(8):
        plan = await explained(database, call, demands)
        read.append(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"])

    # The first calls of a session also read the catalog.
    assert max(read[2:]) < pages


@pytest.mark.parametrize("user", [ALICE, None])
async def test_tag_of_an_insert_is_read_from_indexes(
    database: JobsDatabase, user: UUID | None
) -> None:
    """An insert into a long queue looks at three rows, whoever inserts."""
    await fill(database, "chat", 10_000)
    await database.owner.execute("load 'auto_explain'")
    lines: list[str] = []
    database.owner.add_log_listener(lambda _, message: lines.append(message.message))
    for setting in ("log_min_duration = 0", "log_nested_statements = on", "log_level = notice"):
        await database.owner.execute(f"set auto_explain.{setting}")
    await database.owner.execute("set auto_explain.log_analyze = on")
    await database.insert("chat", user_id=user)
    await database.owner.execute("set auto_explain.log_min_duration = -1")

    plans = [line for line in lines if "from public.jobs" in line]
    assert len(plans) == 2
    assert "jobs_queued_fair_tag" in plans[0]
    assert "jobs_unfinished" in plans[1]
    assert "Seq Scan" not in plans[0] + plans[1]


async def test_plans_of_an_empty_table_serve_a_full_one(database: JobsDatabase) -> None:
    """A session that knew the tables empty reads neither of them row by row later on."""
    async with database.session() as worker:
        await worker.execute("set plan_cache_mode = force_generic_plan")

        async def live(jobs: int) -> None:
            """Insert, claim, renew, report, finish and sweep."""
            await worker.execute(
                "insert into jobs (job_type) select 'chat' from generate_series(1, $1::integer)",
                jobs,
            )
            demands = json.dumps([{"job_types": ["chat"], "count": 5}])
            rows = await worker.fetch(
                "select claim_id from claim_jobs('w', $1, $2, $3, 12)", uuid4(), uuid4(), demands
            )
            claims = [row["claim_id"] for row in rows]
            finishes = [{"claim_id": str(one), "outcome": "completed"} for one in claims]
            await worker.execute("select renew_leases($1, 12)", claims)
            await worker.execute(
                "select report_progress($1)", json.dumps([{**finishes[0], "percent": 5}])
            )
            await worker.execute("select finish_jobs($1)", json.dumps(finishes))
            await worker.execute("select sweep_jobs('w', $1, false)", uuid4())

        async def scanned() -> Any:
            await worker.execute("select pg_stat_force_next_flush()")
            return await database.owner.fetchval(
                "select sum(seq_tup_read)::bigint from pg_stat_user_tables "
                "where relname in ('jobs', 'job_runs')"
            )

        await live(5)
        before = await scanned()
        await live(2000)

        assert await scanned() == before
