"""What tests ask of a whole daemon over HTTP, and wait to see of it."""

from typing import Any

import httpx
from eventually import eventually

WITHIN_S = 60.0
"""Seconds after which an answer is given up."""


async def post(client: httpx.AsyncClient, path: str, **body: Any) -> tuple[int, Any]:
    """Return the status and the body of the answer."""
    response = await client.post(path, json=body)
    return response.status_code, response.json()


async def until_active(client: httpx.AsyncClient, count: int) -> None:
    """Wait until so many jobs are held."""

    async def is_so() -> bool:
        health = (await client.get("/health")).json()
        return bool(health["active_jobs"] == count)

    await eventually(is_so, WITHIN_S, what=f"{count} are active")


async def until_running(client: httpx.AsyncClient) -> None:
    """Wait until a job is in its engine."""

    async def is_so() -> bool:
        jobs = (await client.get("/status")).json()["jobs"]
        return any(job["phase"] == "running" for job in jobs)

    await eventually(is_so, WITHIN_S, what="one is running")
