"""The loop that every part is trained with: warm-up, cosine, and averaged weights."""

import contextlib
import math
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

_WARM_UP = 100
_CLIP = 1.0
_AVERAGE = 0.999
_REPORT = 50


@dataclass(frozen=True, slots=True)
class Course:
    """How long something is trained, and how fast it learns at most."""

    steps: int
    rate: float
    checkpoint: int = 250


class Averages:
    """Exponential averages of weights: what is kept in the end is steadier than any one step."""

    def __init__(self, weights: list[Any]) -> None:
        self._weights = weights
        self._kept = [weight.detach().clone() for weight in weights]

    def update(self, step: int) -> None:
        """Take in the weights as they are; early ones are forgotten sooner."""
        import torch

        share = min(_AVERAGE, (1 + step) / (10 + step))
        with torch.no_grad():
            for kept, weight in zip(self._kept, self._weights, strict=True):
                kept.lerp_(weight, 1 - share)

    @contextlib.contextmanager
    def in_place(self) -> Iterator[None]:
        """Have the averages in the modules meanwhile."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def _swap(self) -> None:
        import torch

        with torch.no_grad():
            for kept, weight in zip(self._kept, self._weights, strict=True):
                held = weight.detach().clone()
                weight.copy_(kept)
                kept.copy_(held)


def learn(
    name: str,
    modules: list[Any],
    loss: Callable[[], Any],
    course: Course,
    checkpoint: Callable[[], None],
) -> None:
    """Train the modules, and leave the averages of their weights in them."""
    import torch

    weights = [weight for module in modules for weight in module.parameters()]
    optimizer = torch.optim.AdamW(weights, lr=course.rate, betas=(0.9, 0.99), weight_decay=1e-3)
    averages = Averages(weights)
    recent, started = [], time.monotonic()
    for module in modules:
        module.train()
    for step in range(1, course.steps + 1):
        for group in optimizer.param_groups:
            group["lr"] = course.rate * _share(step, course.steps)
        with _half_precision():
            value = loss()
            value.backward()
        torch.nn.utils.clip_grad_norm_(weights, _CLIP)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        averages.update(step)
        recent.append(float(value.detach()))
        if step % _REPORT == 0:
            _report(name, step, course.steps, recent[-_REPORT:], time.monotonic() - started)
        if step % course.checkpoint == 0 and step < course.steps:
            _evaluating(modules, averages, checkpoint)
    _evaluating(modules, averages, checkpoint)
    averages.in_place().__enter__()
    for module in modules:
        module.eval()


@contextlib.contextmanager
def _half_precision() -> Iterator[None]:
    """Compute in bfloat16, several times faster where a CPU has matrix instructions for it.

    Not so attention, whose fused form is slow in it.
    """
    import torch

    functional = torch.nn.functional
    half = functional.scaled_dot_product_attention

    def whole(query: Any, key: Any, value: Any, attn_mask: Any = None, **how: Any) -> Any:
        if attn_mask is not None and attn_mask.is_floating_point():
            attn_mask = attn_mask.float()
        with torch.autocast("cpu", enabled=False):
            seen = half(query.float(), key.float(), value.float(), attn_mask, **how)
        return seen.to(query.dtype)

    functional.scaled_dot_product_attention = whole
    try:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            yield
    finally:
        functional.scaled_dot_product_attention = half


def _share(step: int, steps: int) -> float:
    """Return the share of the highest rate: up in a line, down in half a cosine."""
    if step < _WARM_UP:
        return step / _WARM_UP
    return 0.5 * (1 + math.cos(math.pi * (step - _WARM_UP) / max(1, steps - _WARM_UP))) + 1e-3


def _evaluating(modules: list[Any], averages: Averages, act: Callable[[], None]) -> None:
    with averages.in_place():
        for module in modules:
            module.eval()
        act()
        for module in modules:
            module.train()


def _report(name: str, step: int, steps: int, recent: list[float], seconds: float) -> None:
    mean = sum(recent) / len(recent)
    sys.stderr.write(f"{name} {step}/{steps} loss {mean:.4f} {seconds:.0f} s\n")
    sys.stderr.flush()
