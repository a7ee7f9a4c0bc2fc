"""Realtime by HTTP: messages to topics, without a websocket."""

import asyncio

import httpx

from daemon.credentials import Credentials


class RealtimeHttp:
    """The endpoint for broadcasts.

    Args:
        url: the project's address.
        credentials: of a role that may send to jobs' topics.
        timeout_s: one request's limit.
    """

    def __init__(self, url: str, credentials: Credentials, *, timeout_s: float) -> None:
        self._url = f"{url.rstrip('/')}/realtime/v1/api/broadcast"
        self._headers = {**credentials.headers(), "Content-Type": "application/json"}
        self._timeout_s = timeout_s
        self._http: httpx.AsyncClient | None = None

    async def post(self, body: bytes) -> None:
        """Send messages; raises `httpx.HTTPError`."""
        if self._http is None:
            # It reads certificates.
            self._http = await asyncio.to_thread(self._open)
        response = await self._http.post(self._url, content=body)
        response.raise_for_status()

    async def aclose(self) -> None:
        """Close the connection."""
        if self._http is not None:
            await self._http.aclose()

    def _open(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(headers=self._headers, timeout=self._timeout_s, http2=False)
