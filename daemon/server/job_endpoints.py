"""The endpoints of jobs in the table of `endpoints`, and what makes a request a job."""

from daemon.server.endpoint import EVENTS, JSON, Answer, Endpoint, Parameter, failing
from daemon.server.idempotency import LONGEST_KEY
from daemon.server.replies import AcceptedReply, CancelReply, JobReply

TAG = "Jobs"

IDEMPOTENCY_KEY = Parameter(
    "Idempotency-Key", "header",
    "A request that is sent twice with the same key is run once, and answered again with "
    "`Idempotency-Replayed: true`. While the first is under way the second gets 409; with another "
    "body 422.",
    {
        "type": "string",
        "pattern": r'^([!#-\[\]-~]+|"([ !#-\[\]-~]|\\["\\])+")$',
        "minLength": 1,
        "maxLength": LONGEST_KEY,
    },
    example="9f2c1a7e-5b1d-4f0e-8c3a-2d6f7b8e9a01",
)  # fmt: skip

PREFER = Parameter(
    "Prefer", "header",
    "With `respond-async` the request becomes a row of the table: the answer is 202 at once, and "
    "any worker of the table may do it.",
)  # fmt: skip

ACCEPTED = {
    202: Answer(
        "The request became a job",
        {JSON: AcceptedReply},
        {"Location": "path of the job", "Preference-Applied": "respond-async"},
    )
}

_EVENTS = ("step", "text", "preview", "restarted", "gap", "end")
_FAILURES = failing(401, 404, 429, 500, 503)
_JOB_ID = Parameter("job_id", "path", "The job's id.", {"type": "string", "format": "uuid"})
_NUMBER = {"type": "string", "pattern": "^[0-9]{0,16}$"}

JOB_ENDPOINTS = (
    Endpoint(
        "GET", "/jobs/{job_id}", TAG,
        "Read a job",
        "As its row has it, from any worker.",
        {200: Answer("The job", {JSON: JobReply}), **_FAILURES},
        parameters=(_JOB_ID,),
    ),
    Endpoint(
        "POST", "/jobs/{job_id}/cancel", TAG,
        "Cancel a job",
        "Cancels a job that hasn't ended; one that runs stops at its next step. Answers with the "
        "status that it has now.",
        {200: Answer("What became of it", {JSON: CancelReply}), **_FAILURES},
        parameters=(_JOB_ID,),
    ),
    Endpoint(
        "GET", "/jobs/{job_id}/events", TAG,
        "Watch a job",
        "Server-sent events, from any worker: `step`, `text`, `preview`, `restarted`, `gap` and "
        "`end`, after which the stream ends. A job that runs here is told live, all others by "
        "their row. A client that comes back with `Last-Event-ID` gets what it missed.",
        {200: Answer("The events", {EVENTS: None}, events=_EVENTS), **failing(400), **_FAILURES},
        parameters=(
            _JOB_ID,
            Parameter(
                "Last-Event-ID", "header", "The number of the last event that was seen.", _NUMBER
            ),
            Parameter("last_event_id", "query", "The same, where headers can't be set.", _NUMBER),
        ),
    ),
)  # fmt: skip
