"""Small pictures of what a run has drawn so far, without decoding.

Decoding at every step would take longer than the steps. But a latent's few numbers say nearly
linearly which colour its place will have, so a table of a dozen numbers makes a picture of one
pixel a latent in no time. Every autoencoder has a table of its own: it is fitted, once, to patches
of any colours that were decoded, and then to each picture that is.
"""

import functools
import threading
from typing import Any

from handlers.pictures import jpeg

_LONGEST = 256
"""Pixels of a preview's longer side at most."""

_FORGET = 0.8
"""What older pictures count against each new one."""

_PATCHES, _PATCH = 8, 4
"""Patches in a row, and latents in a row of each: pictures are smooth, and noise is not."""

_FIRM = 1e-3
"""Ridge regression: keeps the table small where pictures say little."""


class Previews:
    """Makes previews for the runs of one model.

    Args:
        every: a preview after so many steps; 0: none.
    """

    def __init__(self, every: int) -> None:
        self._every = every
        self._lock = threading.Lock()
        self._products: Any = None
        self._targets: Any = None
        self._table: Any = None

    @property
    def wanted(self) -> bool:
        """Whether there shall be any."""
        return self._every > 0

    @property
    def untaught(self) -> bool:
        """Whether there shall be some, and nothing was learned yet."""
        return self.wanted and self._table is None

    def due(self, step: int, steps: int) -> bool:
        """Say whether there shall be a preview after this step; the last one has the picture."""
        return self.wanted and self._table is not None and step < steps and step % self._every == 0

    def learn(self, latents: Any, decoded: Any) -> None:
        """Take latents and what they were decoded to, both channels first; of films one frame.

        What holds no numbers teaches nothing, and would spoil the table for good.
        """
        if not self.wanted:
            return
        import torch

        rows = _rows(_still(latents))
        colours = _rows(
            torch.nn.functional.adaptive_avg_pool2d(
                _still(decoded).float(), _still(latents).shape[-2:]
            )
        )[:, :3]
        rows = torch.cat([rows, torch.ones_like(rows[:, :1])], dim=1)
        products, targets = rows.T @ rows / len(rows), rows.T @ colours / len(rows)
        if not (torch.isfinite(products).all() and torch.isfinite(targets).all()):
            return
        with self._lock:
            if self._products is not None:
                products = _FORGET * self._products + (1 - _FORGET) * products
                targets = _FORGET * self._targets + (1 - _FORGET) * targets
            self._products, self._targets = products, targets
            firm = _FIRM * torch.eye(len(products), dtype=products.dtype)
            self._table = torch.linalg.solve(products + firm, targets)

    def picture(self, scheduler: Any, latents: Any) -> bytes | None:
        """Return a JPEG of a run's latents as they are; None where nothing was learned."""
        import torch

        if self._table is None:
            return None
        seen = _still(_expected(scheduler, latents))
        rows = _rows(seen)
        colours = torch.cat([rows, torch.ones_like(rows[:, :1])], dim=1) @ self._table
        levels = (colours / 2 + 0.5).clamp(0, 1).nan_to_num().mul(255).round().to(torch.uint8)
        shrink = -(-max(seen.shape[-2:]) // _LONGEST)
        pixels = levels.reshape(*seen.shape[-2:], 3)[::shrink, ::shrink]
        return jpeg(pixels.contiguous().numpy())


def _still(tensor: Any) -> Any:
    """Return one picture, channels first: of a film its middle frame."""
    one = tensor[0]
    return one[:, one.shape[1] // 2] if one.ndim == 4 else one  # noqa: PLR2004 -- channels, frames, height, width


def _rows(picture: Any) -> Any:
    """Return a row of channels for each place."""
    return picture.detach().float().cpu().flatten(1).T


def patches(channels: int) -> Any:
    """Return latents of a picture of even patches: 1, channels, height, width."""
    import torch

    drawn = torch.randn(
        (1, channels, _PATCHES, _PATCHES), generator=torch.Generator("cpu").manual_seed(0)
    )
    return drawn.repeat_interleave(_PATCH, -1).repeat_interleave(_PATCH, -2)


def watch(scheduler: Any) -> None:
    """Have a run's scheduler keep what it expects to come out at the end.

    The latents of an early step are mostly noise; what they are on their way to isn't.
    """
    step = scheduler.step

    @functools.wraps(step)
    def noting(model_output: Any, timestep: Any, sample: Any, *args: Any, **kwargs: Any) -> Any:
        result = step(model_output, timestep, sample, *args, **kwargs)
        scheduler.expected_latents = _end_of(scheduler, result, model_output, sample)
        return result

    scheduler.step = noting


def _end_of(scheduler: Any, result: Any, model_output: Any, sample: Any) -> Any:
    """Return the end that a step expected; None where the scheduler doesn't say it.

    1. Some return it beside the step.
    2. Multistep ones keep it for their next step, if it is what they count with.
    3. A flow is straight: what is left of it, taken at once.
    """
    if isinstance(result, tuple) and len(result) > 1:  # 1
        return result[1]
    if kept := getattr(scheduler, "model_outputs", None):  # 2
        algorithm = scheduler.config.get("algorithm_type", "++")
        counts_with_ends = scheduler.config.get("predict_x0", algorithm.endswith("++"))
        return kept[-1] if counts_with_ends else None
    if type(scheduler).__name__ == "FlowMatchEulerDiscreteScheduler":  # 3
        return sample - scheduler.sigmas[scheduler.step_index - 1] * model_output
    return None


def _expected(scheduler: Any, latents: Any) -> Any:
    expected = getattr(scheduler, "expected_latents", None)
    return latents if expected is None or expected.shape != latents.shape else expected
