"""Rewriting a prompt with the chat model before it is drawn: what is asked, what is taken. Pure."""

import re
from dataclasses import dataclass
from typing import Any

import msgspec

from handlers.requests import Message, TextRequest

INSTRUCTION = (
    "Rewrite the user's prompt for a model that makes pictures and films from text. Keep its "
    "subject and everything it asks for; add concrete detail of setting, light, style and "
    "composition. Answer with the rewritten prompt alone, in one paragraph of at most 80 words."
)
"""What the chat model is told by default. It is the worker's own request to that model; what
callers of the chat model send stays as they wrote it."""

_LABEL = re.compile(
    r"^(?:here(?:'s| is| are)\b[^:\n]{0,80}:|(?:enhanced|rewritten|improved|new)?\s*prompt\s*:)\s*",
    re.IGNORECASE,
)
_REFUSAL = re.compile(
    r"^(?:(?:i'm|i am) (?:really |very |so )?(?:sorry|unable|not able|afraid)"
    r"|sorry\b|i apologi[sz]e|my apologies|unfortunately\b"
    r"|(?:i )?(?:can't|cannot|can not|won't|will not|must decline|do not feel|don't feel)\b"
    r"|as an? (?:ai|language model|assistant)\b)",
    re.IGNORECASE,
)
"""How models begin to refuse, as collections of refusals have it."""

_PLAIN = str.maketrans("\u2018\u2019\u201c\u201d", "''\"\"")
"""Typographic quotation marks and apostrophes, and what is looked for."""


@dataclass(frozen=True, slots=True)
class Enhanced:
    """The prompt to draw. `reason` says why it is the original one; None: it was rewritten."""

    prompt: str
    reason: str | None = None

    def notes(self, original: str) -> dict[str, Any]:
        """Return what the result's metadata says of it."""
        if self.reason is not None:
            return {"enhancement": {"used": False, "reason": self.reason}}
        return {
            "original_prompt": original,
            "enhanced_prompt": self.prompt,
            "enhancement": {"used": True, "reason": None},
        }


def question(
    prompt: str, seed: int, *, instruction: str, max_tokens: int, temperature: float
) -> dict[str, Any]:
    """Return the parameters of a chat run that rewrites the prompt."""
    request = TextRequest(
        messages=[Message("system", instruction), Message("user", prompt)],
        max_tokens=max_tokens,
        temperature=temperature,
        top_p=0.9,
        seed=seed,
    )
    plain: dict[str, Any] = msgspec.to_builtins(request)
    return plain


def judged(answer: str, original: str) -> Enhanced:
    """Take the chat model's answer as the prompt, unless it is empty or a refusal."""
    text = answer.strip()
    if (label := _LABEL.match(text.translate(_PLAIN))) is not None:
        text = text[label.end() :].strip()
    first, last = text[:1].translate(_PLAIN), text[-1:].translate(_PLAIN)
    if len(text) > 1 and first == last and first in {'"', "'"}:
        text = text[1:-1].strip()
    if not text:
        return Enhanced(original, "the chat model answered nothing")
    if _REFUSAL.match(text.translate(_PLAIN)):
        return Enhanced(original, "the chat model refused to rewrite the prompt")
    return Enhanced(text)
