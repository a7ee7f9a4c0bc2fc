"""One engine of the pool, and what it is told to do."""

import asyncio
from collections import deque
from enum import Enum, auto

from daemon.engine_ports import Engine
from daemon.values import EngineEnd, Loaded


class Order(Enum):
    """A move that the pool is told to make."""

    OFFLOAD = auto()
    RESTORE = auto()
    UNLOAD = auto()


class Held:
    """An engine, what it is to do next, and what it holds."""

    def __init__(self, model: str, device: int, engine: Engine) -> None:
        self.model = model
        self.device = device
        self.engine = engine
        self.orders: deque[Order] = deque()
        self.told = asyncio.Event()
        """Set by an order and by the engine's death."""
        self.end: EngineEnd | None = None
        """How the engine ended by itself."""
        self.watch: asyncio.Task[None] | None = None
        """Waits for that."""
        self.held_bytes = 0
        """What it holds on the device for as long as it is left alone."""
        self.loaded: Loaded | None = None
        """What its last load said; None: its weights aren't on the device."""
        self.on_host = False
        """Its weights wait in the host's memory, or are on their way there or back."""
        self.handed_over = False
        """It lives on without this pool."""

    def order(self, order: Order) -> None:
        """Have a move made after those that were ordered before."""
        self.orders.append(order)
        self.told.set()

    def look_away(self) -> None:
        """Wait for the engine's death no longer."""
        if self.watch is not None:
            self.watch.cancel()
            self.watch = None
