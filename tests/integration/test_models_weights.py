"""Where weights lie while they move: real torch modules, on a host that plays both places."""

import asyncio
import threading
from types import SimpleNamespace
from typing import Any

import pytest

from handlers import moving
from handlers.components import Components, Part
from handlers.moving import Weights

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.models


def tensors(*modules: Any) -> list[Any]:
    return [tensor for module in modules for tensor in (*module.parameters(), *module.buffers())]


def places(*modules: Any) -> set[int]:
    return {tensor.data_ptr() for tensor in tensors(*modules)}


def test_every_tensor_moves_and_stays_the_same_object() -> None:
    """Parameters, buffers, shared ones once; values, shapes and memory formats stay."""
    conv = torch.nn.Conv2d(4, 6, 3).to(memory_format=torch.channels_last)
    layer = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.BatchNorm1d(4), conv)
    tied = torch.nn.Linear(4, 4)
    tied.weight = layer[0].weight
    objects, old_places = tensors(layer, tied), places(layer, tied)
    before = [(tensor.clone(), tensor.stride()) for tensor in objects]
    weights = Weights([layer, tied], "cpu")

    for move in (weights.to_host, weights.to_device):
        move()

        assert all(one is other for one, other in zip(tensors(layer, tied), objects, strict=True))
        for tensor, (values, strides) in zip(objects, before, strict=True):
            assert torch.equal(tensor, values)
            assert tensor.stride() == strides
        assert places(layer, tied) & old_places == set()
        assert len(places(layer, tied)) == len(old_places)
        old_places = places(layer, tied)


def test_the_host_holds_what_is_there_and_no_more() -> None:
    """Each tensor once, in one block; nothing when the weights are back."""
    layer, tied = torch.nn.Linear(100, 100), torch.nn.Linear(100, 100)
    tied.weight = layer.weight
    weights = Weights([layer, tied], "cpu")
    assert weights.host_bytes == 0

    weights.to_host()
    assert 40_800 <= weights.host_bytes < 40_800 + 3 * 256
    weights.to_host()
    weights.to_device()

    assert weights.host_bytes == 0


def test_a_kept_copy_makes_leaving_free() -> None:
    """Its bytes are pointed at again instead of being copied."""
    layer = torch.nn.Linear(4, 4)
    kept = Weights([layer], "cpu", keep=True)
    kept.to_host()
    place = layer.weight.data_ptr()
    kept.to_device()
    assert kept.host_bytes > 0
    kept.to_host()

    assert layer.weight.data_ptr() == place


def test_pages_that_can_not_be_pinned_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the driver's own error, with the size; those that can are let go of afterwards."""
    asked: list[tuple[Any, ...]] = []
    runtime = SimpleNamespace(
        cudaHostRegister=lambda *pages: asked.append(pages) or len(asked) - 1,
        cudaHostUnregister=asked.append,
    )
    monkeypatch.setattr(torch.cuda, "cudart", lambda: runtime)
    block = torch.empty(64, dtype=torch.uint8)

    moving.pin(block)
    with pytest.raises(RuntimeError, match="64 bytes of the host's memory can't be pinned: 1"):
        moving.pin(block)
    moving.unpin(block)

    assert asked == [(block.data_ptr(), 64, 0)] * 2 + [block.data_ptr()]


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
