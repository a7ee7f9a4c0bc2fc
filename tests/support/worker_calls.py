"""What tests of the stores do all the time, as a worker."""

from uuid import UUID, uuid4

from daemon.job_types import JOB_TYPES
from daemon.jobs import Finish, Job, Outcome, Recorded
from daemon.ports import JobStore
from daemon.values import Demand, WorkerIdentity

WORKER = WorkerIdentity("host:7861", UUID(int=1))
LEASE_S = 12.0


async def claim(
    store: JobStore, *job_types: str, count: int = 1, worker: WorkerIdentity = WORKER
) -> list[Job]:
    """Claim jobs of these types, or of any."""
    demand = Demand(job_types or tuple(JOB_TYPES), count)
    return await store.claim(worker, uuid4(), [demand], LEASE_S)


async def finish(store: JobStore, job: Job, outcome: Outcome) -> Recorded:
    """Record one outcome."""
    return (await store.finish([Finish(job.claim_id, outcome, {"run": 1.5})]))[job.claim_id]
