"""From messages to the tokens that a language model gets: those messages, and nothing else.

Both runners of text use it, so that the same messages are the same tokens in either. Tokenizer and
template are the model's own; what the template would add was taken out at the load (`templates`),
and that nothing was added is proven again for each prompt (`faithful`).
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from handlers import weights
from handlers.base import GENERATION_FAILED, INVALID_PROMPT, ModelSpec, RunError
from handlers.faithful import Faithfulness
from handlers.requests import Message, TextRequest
from handlers.templates import (
    Conversation,
    TemplateRefusedError,
    missing_content,
    neutral_template,
)

STEP = "generating_text"
"""What a run that answers is said to do."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """A request's tokens.

    Attributes:
        most: the most tokens that an answer may have.
        messages: as they stand in the prompt.
        respected: it is proven that nothing else stands in it.
    """

    tokens: list[int]
    most: int
    messages: Sequence[Message]
    respected: bool


class Prompting:
    """A model's tokenizer and its neutral template. Its methods are called from several threads.

    Args:
        spec: the model, for what is said of it.
        tokenizer: of transformers, with a native part.
        chat_template: takes the place of the model's own; empty: it doesn't.
        context: the most tokens of prompt and answer together; may be set later.
    """

    def __init__(
        self, spec: ModelSpec, tokenizer: Any, chat_template: str = "", context: int = 0
    ) -> None:
        self.context = context
        self._spec = spec
        self._tokenizer = tokenizer
        # The tokenizer's native part refuses to be used from two threads at once.
        self._tokenizing = threading.Lock()
        template = self._neutral(chat_template or tokenizer.chat_template)
        self._template = template
        self._faithfulness = Faithfulness(lambda twin: self._render(template, twin))

    def prompt_of(self, request: TextRequest) -> Prompt:
        """Return the request's tokens; raises `RunError` for messages that can't be passed on."""
        rendered = self.rendered(request.messages)
        proof = self._faithfulness.prove(request.messages, rendered)
        with self._tokenizing:
            tokens = self._tokenizer(rendered, add_special_tokens=False)["input_ids"]
        if len(tokens) >= self.context:
            raise RunError(
                INVALID_PROMPT,
                f"the messages are {len(tokens):,} tokens long, and the model's context of "
                f"{self.context:,} leaves no room for an answer",
            )
        most = min(request.max_tokens, self.context - len(tokens))
        return Prompt(tokens, most, proof.messages, proof.holds)

    def rendered(self, messages: Sequence[Message]) -> str:
        """Return the text of a prompt: the given messages in the model's marks."""
        conversation = [{"role": each.role, "content": each.content} for each in messages]
        try:
            rendered = self._render(self._template, conversation)
        except Exception as error:
            raise RunError(
                INVALID_PROMPT, f"the model's chat template refuses these messages: {error}"
            ) from error
        if (role := missing_content(rendered, conversation)) is not None:
            raise RunError(
                GENERATION_FAILED, f"the model's chat template drops or changes a {role} message"
            )
        return rendered

    def ends(self, configured: Any) -> frozenset[int]:
        """Return the tokens that end an answer: the configured ones and the tokenizer's."""
        listed = configured if isinstance(configured, list) else [configured]
        return frozenset(end for end in [*listed, self._tokenizer.eos_token_id] if end is not None)

    def speaking(self) -> "Speaking":
        """Return what turns the tokens of one answer into text."""
        return Speaking(self._tokenizer, self._tokenizing)

    def _render(self, template: str, conversation: Conversation) -> str:
        with self._tokenizing:
            rendered: str = self._tokenizer.apply_chat_template(
                conversation, chat_template=template, tokenize=False, add_generation_prompt=True
            )
        return rendered

    def _neutral(self, template: object) -> str:
        if not isinstance(template, str):
            raise weights.refused(self._spec, "its tokenizer has no chat template")
        try:
            return neutral_template(template, self._render)
        except TemplateRefusedError as error:
            raise weights.refused(self._spec, str(error)) from error


class Speaking:
    """Turns tokens into pieces of text one by one, never into half a character."""

    def __init__(self, tokenizer: Any, tokenizing: threading.Lock) -> None:
        from tokenizers.decoders import DecodeStream

        self._stream = DecodeStream(skip_special_tokens=True)
        self._native = tokenizer.backend_tokenizer
        self._tokenizing = tokenizing

    def piece(self, token: int) -> str:
        """Return what the token adds to the text; empty while a character isn't whole."""
        with self._tokenizing:
            return self._stream.step(self._native, token) or ""


def tokenizer_of(spec: ModelSpec, path: str | Path) -> Any:
    """Load a model's tokenizer."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(path)
    if not tokenizer.is_fast:
        raise weights.refused(spec, "its tokenizer has no native part")
    return tokenizer
