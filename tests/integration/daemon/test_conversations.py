"""What goes into a whole daemon's `/chat` as messages reaches the model and comes out again."""

from collections.abc import AsyncIterator, Callable

import httpx
import pytest
import pytest_asyncio
from conversations import CONVERSATIONS, Conversation
from daemon_process import Daemon
from hypothesis import HealthCheck, given, settings
from projects import Project

pytestmark = pytest.mark.asyncio(loop_scope="session")

StartDaemon = Callable[..., Daemon]
WITHIN_S = 60.0


@pytest_asyncio.fixture(loop_scope="session")
async def client(daemon: StartDaemon, direct: Project) -> AsyncIterator[httpx.AsyncClient]:
    async with (
        daemon(direct, OURVIDZ_WORKER_TYPE="chat") as running,
        httpx.AsyncClient(base_url=running.url, timeout=WITHIN_S) as opened,
    ):
        yield opened


# The client keeps nothing between two requests.
@settings(
    max_examples=30,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(CONVERSATIONS)
async def test_messages_reach_the_model_as_they_are(
    client: httpx.AsyncClient, conversation: Conversation
) -> None:
    """Through the whole way: checks, scheduler, engine process and back."""
    response = await client.post("/chat", json=conversation.body)

    assert response.status_code == httpx.codes.OK, response.text
    answer = response.json()
    assert answer["messages_used"] == conversation.messages
    assert answer["response"] == f"You said: {conversation.messages[-1]['content']}"
