"""One picture or film on its way through a pipeline's steps."""

from typing import Any

from handlers.base import Control, StoppedError
from handlers.previews import Previews

STEPS_FROM, STEPS_TO = 0.02, 0.92
"""The share of a run that its steps take; the rest is for text before and pictures after."""


class Drawing:
    """Reports the steps of one run, and keeps what is to be said of it in the result.

    Attributes:
        control: the run's line to the outside.
        notes: fields for the result's metadata, such as `batched`.
    """

    def __init__(self, current_step: str, control: Control, previews: Previews) -> None:
        self.control = control
        self.notes: dict[str, Any] = {}
        self._current_step = current_step
        self._previews = previews

    def after_step(
        self, pipeline: Any, index: int, _: Any, values: dict[str, Any]
    ) -> dict[str, Any]:
        """Report a step; diffusers' `callback_on_step_end`."""
        total = pipeline.num_timesteps
        share = STEPS_FROM + (STEPS_TO - STEPS_FROM) * (index + 1) / total
        if self._previews.due(index + 1, total):
            picture = self._previews.picture(pipeline.scheduler, values["latents"])
            if picture is not None:
                self.control.show(picture)
        try:
            self.control.step(self._current_step, share, index + 1, total)
        except StoppedError:
            # Not raised from here: the pipeline must still put away what it holds.
            pipeline._interrupt = True  # noqa: SLF001 -- diffusers' documented way
        return values
