"""Bodies of requests: what is passed on of them, and for whom."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient

from daemon.server.openai_requests import image_request, text_request
from daemon.server.requests import ImageBody, TextBody, checked
from handlers.checking import Fields

Client = TestClient[Any, Any]
Connect = Callable[..., Awaitable[Client]]

ALICE = "7c9e6679-7425-40de-944b-e07fc1f90ae7"


@pytest.mark.parametrize("model", [TextBody, ImageBody])
async def test_nothing_takes_the_place_of_the_prompt(
    connect: Connect, daemon: Any, model: type[Fields]
) -> None:
    """In a row a rewritten prompt may, with bounds of its own; over HTTP it isn't known."""

    async def tell(request: web.Request) -> web.Response:
        return web.json_response(await checked(request, model, refuse_unknown=False))

    daemon.extra_routes = [web.post("/", tell)]
    body = {"prompt": "a lake", "enhanced_prompt": "y" * 5000, "seed": None, "other": 1}
    passed_on = await (await (await connect()).post("/", json=body)).json()

    assert passed_on == {"prompt": "a lake", "other": 1}


@pytest.mark.parametrize(
    ("user", "user_id"),
    [(ALICE, ALICE), (f"{ALICE}\n", None), (f" {ALICE}", None), ("user-1", None), (None, None)],
)
def test_only_a_whole_user_id_names_a_user(user: str | None, user_id: str | None) -> None:
    """Anything else that a client calls its user is nobody here."""
    text = text_request({"messages": [], "user": user})
    image = image_request({"prompt": "x", "user": user})

    assert text.get("user_id") == image.get("user_id") == user_id
