"""OpenAI's own client asks a whole daemon, as its users would."""

import base64
from collections.abc import AsyncIterator, Callable

import openai
import pytest
import pytest_asyncio
from daemon_process import Daemon
from openai import AsyncOpenAI
from projects import Project

pytestmark = pytest.mark.asyncio(loop_scope="session")

StartDaemon = Callable[..., Daemon]
KEY = "key-of-the-openai-client"
CONVERSATION = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hi"}]


@pytest_asyncio.fixture(loop_scope="session")
async def client(daemon: StartDaemon, direct: Project) -> AsyncIterator[AsyncOpenAI]:
    async with (
        daemon(direct, WORKER_API_KEY=KEY) as running,
        AsyncOpenAI(base_url=f"{running.url}/v1", api_key=KEY, max_retries=0) as made,
    ):
        yield made


async def test_models_are_listed_and_found(client: AsyncOpenAI) -> None:
    names = [model.id async for model in await client.models.list()]
    assert names == ["chat-fake", "sdxl-fake", "wan-fake", "video-fake"]
    assert (await client.models.retrieve("chat")).id == "chat-fake"
    with pytest.raises(openai.NotFoundError, match="gpt-5"):
        await client.models.retrieve("gpt-5")


async def test_a_completion(client: AsyncOpenAI) -> None:
    made = await client.chat.completions.create(
        model="chat-fake", messages=CONVERSATION, max_tokens=7, stop=["."], user="user-1"
    )
    (choice,) = made.choices
    assert made.object == "chat.completion"
    assert made.model == "chat-fake"
    assert choice.message.role == "assistant"
    assert choice.message.content
    assert choice.finish_reason in {"stop", "length"}
    assert made.usage is not None
    assert made.usage.total_tokens == made.usage.prompt_tokens + made.usage.completion_tokens


async def test_parts_are_joined_and_a_developer_is_the_system(client: AsyncOpenAI) -> None:
    parts = [{"type": "text", "text": "Hi"}, {"type": "text", "text": " there"}]
    whole = await client.chat.completions.create(
        model="chat",
        messages=[
            {"role": "system", "content": "Be kind."},
            {"role": "user", "content": "Hi there"},
        ],
        seed=1,
    )
    joined = await client.chat.completions.create(
        model="chat",
        messages=[{"role": "developer", "content": "Be kind."}, {"role": "user", "content": parts}],
        seed=1,
    )
    assert joined.choices[0].message.content == whole.choices[0].message.content


async def test_a_stream_is_the_completion_in_pieces(client: AsyncOpenAI) -> None:
    whole = await client.chat.completions.create(model="chat", messages=CONVERSATION, seed=1)
    stream = await client.chat.completions.create(
        model="chat",
        messages=CONVERSATION,
        seed=1,
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = [chunk async for chunk in stream]
    said = [choice for chunk in chunks for choice in chunk.choices]
    assert said[0].delta.role == "assistant"
    text = "".join(choice.delta.content or "" for choice in said)
    assert text == whole.choices[0].message.content
    assert said[-1].finish_reason == whole.choices[0].finish_reason
    assert len({chunk.id for chunk in chunks}) == 1
    assert chunks[-1].usage == whole.usage
    assert all(chunk.usage is None for chunk in chunks[:-1])


async def test_pictures_come_as_urls_and_as_bytes(client: AsyncOpenAI) -> None:
    asked = {"model": "sdxl", "prompt": "a lake", "size": "64x64", "n": 2}
    stored = await client.images.generate(**asked, extra_body={"steps": 2, "seed": 3})
    assert stored.data is not None
    assert len({each.url for each in stored.data}) == len(stored.data) == asked["n"]
    inline = await client.images.generate(**asked, response_format="b64_json", quality="hd")
    assert inline.data is not None
    pictures = [base64.b64decode(each.b64_json or "") for each in inline.data]
    assert [picture[:4] for picture in pictures] == [b"\x89PNG"] * 2


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"model": "chat", "messages": []}, "messages"),
        ({"model": "chat", "messages": CONVERSATION, "n": 2}, "n must be 1"),
        ({"model": "chat", "messages": CONVERSATION, "temperature": 3}, "temperature"),
        ({"model": "chat", "messages": CONVERSATION, "stop": ["a"] * 5}, "stop"),
        (
            {
                "model": "chat",
                "messages": CONVERSATION,
                "tools": [{"type": "function", "function": {"name": "f"}}],
            },
            "tools",
        ),
        ({"model": "chat", "messages": [{"role": "tool", "content": "x"}]}, r"messages\[0\].role"),
    ],
)
async def test_what_cannot_be_done_is_refused(
    client: AsyncOpenAI, asked: dict[str, object], words: str
) -> None:
    with pytest.raises(openai.BadRequestError, match=words) as refused:
        await client.chat.completions.create(**asked)
    assert refused.value.code == "invalid_prompt"


async def test_pictures_that_cannot_be_are_refused(client: AsyncOpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="size"):
        await client.images.generate(model="sdxl", prompt="x", size="huge")
    with pytest.raises(openai.BadRequestError, match="width"):
        await client.images.generate(model="sdxl", prompt="x", size="100x64")
    with pytest.raises(openai.BadRequestError, match="1,001"):
        await client.images.generate(model="sdxl", prompt="x" * 1001)
    with pytest.raises(openai.NotFoundError):
        await client.images.generate(model="dall-e-3", prompt="x")


async def test_a_wrong_key_and_an_error_amid_a_stream_are_the_clients_own(
    client: AsyncOpenAI,
) -> None:
    with pytest.raises(openai.AuthenticationError):
        await client.with_options(api_key="wrong").models.list()
    stream = await client.chat.completions.create(
        model="chat",
        messages=CONVERSATION,
        stream=True,
        extra_body={"fake": {"fail": "no more"}},
    )
    with pytest.raises(openai.APIError, match="no more"):
        [chunk async for chunk in stream]
