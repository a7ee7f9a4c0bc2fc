"""Requests for the language model, in each of the forms that callers write.

    messages                                            as they are
    message, system_prompt, conversation_history        joined in that order
    prompt [, system_prompt]                            one message

Nothing is added, changed or dropped, but for a trailing history entry that repeats the message,
which frontends save before they ask.
"""

from typing import Annotated, Any, Literal

from pydantic import Field

from handlers.checking import Fields, InvalidRequest, Seed, Text, check, check_length
from handlers.requests import Message, TextRequest
from handlers.source import Source

_DEFAULT_TOKENS = {"enhance": 200}
_USUAL_TOKENS = 512
_ROLES = "system, user or assistant"
_STOPS = "a list of at most 4 texts of 1 to 100 characters"

Role = Annotated[Literal["system", "user", "assistant"], Field(description=_ROLES)]
Stop = Annotated[Text, Field(min_length=1, max_length=100, description=_STOPS)]


class GivenMessage(Fields):
    """One message, as it goes to the model."""

    role: Role
    content: Text


class GivenEntry(Fields):
    """An entry of a history; frontends name the speaker `sender`, others `role`."""

    sender: Role | None = None
    role: Role | None = None
    content: Text
    created_at: Any = None


class ChatFields(Fields):
    """What a request for text may say."""

    messages: Annotated[
        list[GivenMessage], Field(default_factory=list, description="a list of messages")
    ]
    message: Text | None = None
    system_prompt: Text | None = None
    conversation_history: Annotated[
        list[GivenEntry], Field(default_factory=list, description="a list of messages")
    ]
    max_tokens: Annotated[
        int | None, Field(ge=1, le=4096, description="a whole number from 1 to 4096")
    ] = None
    temperature: Annotated[
        float, Field(ge=0, le=2, allow_inf_nan=False, description="a number from 0 to 2")
    ] = 0.7
    top_p: Annotated[
        float, Field(gt=0, le=1, allow_inf_nan=False, description="a number above 0, up to 1")
    ] = 0.9
    stop: Annotated[list[Stop], Field(max_length=4, default_factory=list, description=_STOPS)]
    seed: Seed = None


def text_request(source: Source) -> TextRequest:
    """Return the resolved request for chat, enhance or generate."""
    chat = check(ChatFields, source.fields)
    messages = _messages(chat, source)
    total = sum(len(message.content) for message in messages)
    if total > source.limits.chat_chars:
        raise InvalidRequest(
            f"the messages are {total:,} characters long, and at most "
            f"{source.limits.chat_chars:,} are allowed"
        )
    return TextRequest(
        messages=messages,
        max_tokens=chat.max_tokens or _DEFAULT_TOKENS.get(source.handler, _USUAL_TOKENS),
        temperature=float(chat.temperature),
        top_p=float(chat.top_p),
        seed=source.seed(chat.seed),
        stop=chat.stop,
        fake=source.fake(),
    )


def _messages(chat: ChatFields, source: Source) -> list[Message]:
    if chat.messages:
        return _given(chat)
    message, field = (chat.message, "message") if chat.message else (source.prompt(), "prompt")
    if message is None:
        raise InvalidRequest("messages is missing: give messages, message or prompt")
    check_length(field, message, source.limits.chat_chars)
    history = [_said(entry, number) for number, entry in enumerate(chat.conversation_history)]
    if history and history[-1] == Message("user", message):
        history.pop()
    opening = [Message("system", chat.system_prompt)] if chat.system_prompt else []
    return [*opening, *history, Message("user", message)]


def _given(chat: ChatFields) -> list[Message]:
    """Return the messages; whatever else was given may not contradict them."""
    messages = [Message(message.role, message.content) for message in chat.messages]
    if chat.message:
        raise InvalidRequest("messages and message were both given: give one of them")
    opening = Message("system", chat.system_prompt or "")
    if chat.system_prompt and opening not in messages:
        raise InvalidRequest(
            "messages and system_prompt were both given: put the system prompt into messages"
        )
    return messages


def _said(entry: GivenEntry, number: int) -> Message:
    role = entry.role or entry.sender
    if role is None:
        raise InvalidRequest(f"conversation_history[{number}].sender is missing")
    if entry.role and entry.sender and entry.role != entry.sender:
        raise InvalidRequest(
            f"conversation_history[{number}] has the role {entry.role} "
            f"and the sender {entry.sender}"
        )
    return Message(role, entry.content)
