"""A request on its way to being resolved, and what all kinds of requests share."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from handlers.checking import Fields, InvalidRequest, Limits, Text, check


class _Prompts(Fields):
    enhanced_prompt: Text | None = None
    prompt: Text | None = None
    original_prompt: Text | None = None


@dataclass(frozen=True, slots=True)
class Source:
    """What a resolved request is made from. `random_seed` is used where none is asked for."""

    handler: str
    model: str
    quality: str
    fields: Mapping[str, Any]
    original_prompt: str | None
    limits: Limits
    random_seed: int

    def prompt(self) -> str | None:
        """Return the first prompt that isn't blank, as it was written; None: there is none."""
        prompts = check(
            _Prompts,
            {
                "enhanced_prompt": self.fields.get("enhanced_prompt"),
                "prompt": self.fields.get("prompt"),
                "original_prompt": self.original_prompt,
            },
        )
        candidates = (prompts.enhanced_prompt, prompts.prompt, prompts.original_prompt)
        return next((prompt for prompt in candidates if prompt and prompt.strip()), None)

    def required_prompt(self) -> str:
        """Return the prompt; raises `InvalidRequest` where there is none."""
        prompt = self.prompt()
        if prompt is None:
            raise InvalidRequest(
                "prompt is missing: metadata.enhanced_prompt, metadata.prompt and "
                "original_prompt are all empty"
            )
        return prompt

    def seed(self, asked: int | None) -> int:
        """Return the seed that was asked for, or a random one."""
        return self.random_seed if asked is None else asked

    def fake(self) -> dict[str, Any]:
        """Return the instructions for the fake runner, where those are allowed."""
        fake = self.fields.get("fake")
        return dict(fake) if self.limits.allow_fake and isinstance(fake, Mapping) else {}
