"""Rows over HTTP: read, cancel, and ask for them."""

from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient
from scripted_desk import CREATED, ScriptedDesk, a_row

from daemon.server.desk import Desk
from daemon.server.idempotency import idempotency_key
from daemon.server.jobs import JobRoutes
from daemon.server.submissions import Submissions, job_id_of_key
from daemon.values import SchemaMismatchError, StoreRejectedError, StoreUnavailableError

Client = TestClient[Any, Any]
USER = uuid4()
SECRET = "bearer abcdefgh12345678"


class Stage:
    """A table, the desk before it, and routes that ask for jobs."""

    def __init__(self, daemon: Any) -> None:
        self.table = ScriptedDesk()
        self.desk = Desk()
        self.cancelled: list[UUID] = []
        self.caller = "edge"
        self._submissions = Submissions(self.desk)
        daemon.extra_routes += [*JobRoutes(self.desk).routes(), web.post("/ask", self._ask)]

    def open(self) -> None:
        self.desk.open(self.table, self.cancelled.append)

    async def _ask(self, request: web.Request) -> web.Response:
        return await self._submissions.accept(
            "sdxl_image_fast",
            await request.json(),
            caller=self.caller,
            user_id=USER,
            key=idempotency_key(request),
        )


@pytest.fixture
def stage(daemon: Any) -> Stage:
    stage = Stage(daemon)
    stage.open()
    return stage


async def asked(client: Client, body: Any = None, key: str | None = None) -> tuple[int, Any, Any]:
    """Ask for a job; return status, JSON and headers."""
    headers = {} if key is None else {"Idempotency-Key": key}
    body = {"prompt": "a lake"} if body is None else body
    async with client.post("/ask", json=body, headers=headers) as answer:
        return answer.status, await answer.json(), answer.headers


async def test_a_job_is_shown_in_the_documented_shape(stage: Stage, connect: Any) -> None:
    """The fields of a status update and of a completion, and the job's times."""
    row = a_row(
        job_type="sdxl_image_fast", status="processing", progress=45, attempts=1,
        current_step="generating_image", started_at=CREATED + timedelta(seconds=1.5),
        estimated_completion=CREATED + timedelta(seconds=30), timings={"queue": 1.5, "run": 2.25},
    )  # fmt: skip
    stage.table.has(row)
    client = await connect()

    answer = await client.get(f"/jobs/{row.id}")

    assert (answer.status, answer.headers["Cache-Control"]) == (200, "no-store")
    assert await answer.json() == {
        "job_id": str(row.id),
        "job_type": "sdxl_image_fast",
        "status": "processing",
        "progress": 45,
        "current_step": "generating_image",
        "estimated_completion": "2026-03-01T12:00:30Z",
        "result": None,
        "error": None,
        "error_code": None,
        "attempts": 1,
        "max_attempts": 3,
        "created_at": "2026-03-01T12:00:00Z",
        "started_at": "2026-03-01T12:00:01.500000Z",
        "completed_at": None,
        "timings": {"queue": 1.5, "run": 2.25},
    }


async def test_results_come_whole_and_errors_without_secrets(stage: Stage, connect: Any) -> None:
    """A signed address in a result must still work; an error is a sentence for people."""
    result = {"image_url": "https://x/y.png?token=abcdef"}
    done, failed = a_row(status="completed", result=result), a_row(status="failed", error=SECRET)
    stage.table.has(done, failed)
    client = await connect()

    shown = [await (await client.get(f"/jobs/{row.id}")).json() for row in (done, failed)]

    assert shown[0]["result"] == result
    assert "abcdefgh" not in shown[1]["error"]


async def test_cancelling_answers_how_the_job_stands(stage: Stage, connect: Any) -> None:
    """Of a job that is cancelled its worker is told, of one that has ended it isn't."""
    waiting, done = a_row(), a_row(status="completed")
    stage.table.has(waiting, done)
    client = await connect()

    answers = [await client.post(f"/jobs/{row.id}/cancel") for row in (waiting, done)]

    assert [(answer.status, await answer.json()) for answer in answers] == [
        (200, {"job_id": str(waiting.id), "status": "cancelled"}),
        (200, {"job_id": str(done.id), "status": "completed"}),
    ]
    assert stage.cancelled == [waiting.id]


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("job_id", [str(uuid4()), "no-id", "x" * 500], ids=["free", "none", "long"])
async def test_unknown_jobs_are_404(stage: Stage, connect: Any, method: str, job_id: str) -> None:
    """And what is no id names no job."""
    client = await connect()
    path = f"/jobs/{job_id}" + ("/cancel" if method == "POST" else "")

    answer = await client.request(method, path)

    body = await answer.json()
    assert (answer.status, body["error_code"]) == (404, "NOT_FOUND")
    assert len(body["error"]) < 200


@pytest.mark.parametrize(
    ("failure", "told"),
    [
        (StoreUnavailableError("postgres://me:pw@db"), (503, "DATABASE_ERROR", "5")),
        (StoreRejectedError(f"not on Sundays {SECRET}"), (500, "DATABASE_ERROR", None)),
        (SchemaMismatchError("migrate it"), (503, "DATABASE_ERROR", "5")),
        (None, (503, "NOT_READY", "5")),
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_failures_of_the_database_are_told(
    daemon: Any, connect: Any, method: str, failure: Any, told: tuple[int, str, str | None]
) -> None:
    """Away, refusing, of another schema, and not reached yet; without secrets and addresses."""
    stage = Stage(daemon)
    if failure is not None:
        stage.open()
    stage.table.failure = failure
    client = await connect()
    path = f"/jobs/{uuid4()}" + ("/cancel" if method == "POST" else "")

    answer = await client.request(method, path)

    body = await answer.json()
    assert (answer.status, body["error_code"], answer.headers.get("Retry-After")) == told
    assert body["success"] is False
    assert "pw" not in body["error"]
    assert "abcdefgh" not in body["error"]


async def test_a_job_that_is_asked_for_is_accepted(stage: Stage, connect: Any) -> None:
    """With 202, its id, and where to look."""
    client = await connect()

    status, body, headers = await asked(client)

    [job] = stage.table.calls
    assert (job.job_type, job.metadata, job.user_id, job.fingerprint) == (
        "sdxl_image_fast", {"prompt": "a lake"}, USER, None
    )  # fmt: skip
    assert (status, body) == (
        202,
        {
            "success": True,
            "job_id": str(job.id),
            "status": "queued",
            "status_url": f"/jobs/{job.id}",
            "events_url": f"/jobs/{job.id}/events",
        },
    )
    assert headers["Location"] == f"/jobs/{job.id}"
    assert headers["Preference-Applied"] == "respond-async"
    assert "Idempotency-Replayed" not in headers


async def test_without_a_key_each_request_is_a_job(stage: Stage, connect: Any) -> None:
    """Also when it says the same."""
    client = await connect()

    assert (await asked(client))[1]["job_id"] != (await asked(client))[1]["job_id"]


async def test_a_repeat_is_the_same_job_as_it_stands_now(stage: Stage, connect: Any) -> None:
    """With the order of its fields changed, too: JSON has none."""
    client = await connect()
    first = await asked(client, {"prompt": "a lake", "steps": 4}, key="k")
    stage.table.has(a_row(id=UUID(first[1]["job_id"]), status="processing"))
    again = await asked(client, {"steps": 4, "prompt": "a lake"}, key="k")

    assert again[0] == 202
    assert again[1] == {**first[1], "status": "processing"}
    assert "Idempotency-Replayed" not in first[2]
    assert again[2]["Idempotency-Replayed"] == "true"


async def test_the_key_of_another_request_is_422(stage: Stage, connect: Any) -> None:
    """Nothing is added; another caller's key is his own."""
    client = await connect()
    first = await asked(client, key="k")

    status, body, _ = await asked(client, {"prompt": "a sea"}, key="k")
    stage.caller = "browser"
    other = await asked(client, {"prompt": "a sea"}, key="k")

    assert (status, body["error_code"]) == (422, "UNPROCESSABLE")
    assert other[0] == 202
    assert other[1]["job_id"] != first[1]["job_id"]


async def test_an_answer_that_is_lost_makes_no_second_job(stage: Stage, connect: Any) -> None:
    """The database had it: asked again under the same id, it says so, and nothing was a repeat."""
    stage.table.failures = [StoreUnavailableError("cut")]
    client = await connect()

    status, _, headers = await asked(client)

    assert status == 202
    assert "Idempotency-Replayed" not in headers
    assert len(stage.table.calls) == 2
    assert len(stage.table.submitted) == 1


@pytest.mark.parametrize(
    ("failure", "status"),
    [(StoreUnavailableError("away"), 503), (StoreRejectedError("the limit is 524288"), 422)],
)
async def test_a_job_that_cannot_be_added_is_not_accepted(
    stage: Stage, connect: Any, failure: Exception, status: int
) -> None:
    """Away for good, or refused: the sentence is the database's."""
    stage.table.failure = failure
    client = await connect()

    answered, body, _ = await asked(client)

    assert (answered, body["error_code"]) == (status, "DATABASE_ERROR")
    assert status == 503 or "the limit is 524288" in body["error"]


def test_ids_of_keys_are_the_same_on_every_worker() -> None:
    """Written down: another release must not make other jobs of the same keys."""
    assert job_id_of_key("edge", "key-1") == UUID("8564e9a5-798f-5428-8379-c53911352a6e")


def test_callers_and_keys_dont_run_into_one_another() -> None:
    """However they are split, two pairs are two jobs."""
    pairs = [("a", "bc"), ("ab", "c"), ("", "abc"), ('a","b', "c"), ("a", 'b","c')]

    assert len({job_id_of_key(*pair) for pair in pairs}) == len(pairs)
