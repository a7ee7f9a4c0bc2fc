"""Where weights lie while they move: real torch modules, on a host that plays both places."""

import asyncio
import threading
from types import SimpleNamespace
from typing import Any

import pytest

from handlers.components import Components, Part
from handlers.moving import Weights

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.models


def places(*modules: Any) -> set[int]:
    return {
        tensor.data_ptr()
        for module in modules
        for tensor in (*module.parameters(), *module.buffers())
    }


def test_every_tensor_moves_and_stays_the_same_object() -> None:
    """Parameters, buffers, and shared ones once."""
    layer = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.BatchNorm1d(4))
    tied = torch.nn.Linear(4, 4)
    tied.weight = layer[0].weight
    objects, old_places = list(layer.parameters()), places(layer, tied)
    values = layer[0].weight.tolist()
    weights = Weights([layer, tied], "cpu")

    weights.to_host()

    assert places(layer, tied) & old_places == set()
    assert len(places(layer, tied)) == len(old_places)
    assert layer[0].weight.tolist() == tied.weight.tolist() == values
    assert all(one is other for one, other in zip(layer.parameters(), objects, strict=True))
    assert weights.size_bytes == sum(
        tensor.nbytes for tensor in (*layer.parameters(), *layer.buffers(), tied.bias)
    )


def test_a_kept_copy_makes_leaving_free() -> None:
    """Its bytes are pointed at again instead of being copied; otherwise the host gets them back."""
    layer = torch.nn.Linear(4, 4)
    kept = Weights([layer], "cpu", keep=True)
    kept.to_host()
    place = layer.weight.data_ptr()
    kept.to_device()
    kept.to_host()
    assert layer.weight.data_ptr() == place

    passing = Weights([torch.nn.Linear(4, 4)], "cpu")
    passing.to_host()
    passing.to_device()
    assert passing._copies == ()


def test_quantized_weights_are_not_moved() -> None:
    """They keep more than the bytes that would be copied."""

    class Quantized(torch.nn.Parameter):
        pass

    layer = torch.nn.Linear(4, 4)
    assert Weights([layer], "cpu").movable
    layer.weight = Quantized(layer.weight)

    assert not Weights([layer], "cpu").movable


def pipeline() -> SimpleNamespace:
    names = ("text_encoder", "text_encoder_2", "unet", "vae")
    components = {name: torch.nn.Linear(2, 2) for name in names}
    return SimpleNamespace(components={**components, "tokenizer": object()})


def on_device(components: Components) -> set[Part]:
    return {part for part, weights in components._weights.items() if weights.on_device}


def test_a_run_that_saves_memory_has_one_part_on_the_device() -> None:
    """Then all are there again, also after a failure."""
    components = Components(pipeline(), "cpu", keep=False)
    seen = []

    def run() -> None:
        with components.use(2) as use:
            seen.append(on_device(components))
            for part in Part:
                with use.of(part):
                    seen.append(on_device(components))
            with use.of(Part.TEXT):
                raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        run()

    assert seen == [set(), *({part} for part in Part)]
    assert on_device(components) == set(Part)


def test_a_run_brings_back_what_another_one_could_not() -> None:
    """The way back may have run out of memory."""
    components = Components(pipeline(), "cpu", keep=False)
    components.offload()

    with components.use(1) as use, use.of(Part.DECODER):
        assert on_device(components) == set(Part)


async def test_a_run_that_saves_memory_is_alone() -> None:
    """Others would find the weights elsewhere in the middle of their steps."""
    components = Components(pipeline(), "cpu", keep=False)
    begun, order = threading.Event(), []

    def saving() -> None:
        begun.set()
        with components.use(2):
            order.append("alone")

    with components.use(0):
        run = asyncio.create_task(asyncio.to_thread(saving))
        await asyncio.to_thread(begun.wait, 10)
        order.append("shared")
    await run

    assert order == ["shared", "alone"]


def test_a_component_of_another_kind_stays() -> None:
    """Where one can't be moved, the whole run keeps all on the device."""
    each = pipeline()
    each.components["unet"].weight = type("Quantized", (torch.nn.Parameter,), {})(
        each.components["unet"].weight
    )
    components = Components(each, "cpu", keep=False)

    with components.use(2) as use, use.of(Part.TEXT):
        assert on_device(components) == set(Part)
