"""Random histories of the scheduler: does any of them break an invariant?

    nice python benchmarks/histories.py [--histories 10000] [--steps 50] [--jobs 2] [--seed 0]

Each history is a scheduler with one or two devices, with or without room in the host's memory, and
everything that can happen to it in random order: requests of all kinds that come and go, runs that
end, overflow and leak, loads that fail or turn out larger, engines that die, memory that others
take. After each step the bytes, slots and waits are counted again, independently of the scheduler;
see tests/support/histories.py. Hundreds have a seed of their own, so that the same numbers are the
same histories. It ends with 1 when one of them has failed, and prints its steps.
"""

import argparse
import sys
import time
import traceback
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import invariant, run_state_machine_as_test

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "support"))

from histories import Histories

TOGETHER = 100
"""Histories of one seed."""


@dataclass(frozen=True)
class Share:
    """Some of the histories."""

    seed: int
    count: int
    steps: int


@dataclass
class Seen:
    """What became of them."""

    histories: int = 0
    steps: int = 0
    events: int = 0
    broken: int = 0

    def add(self, other: "Seen") -> None:
        """Count what another share has seen."""
        self.histories += other.histories
        self.steps += other.steps
        self.events += other.events
        self.broken += other.broken


def shares(args: argparse.Namespace) -> Iterator[Share]:
    for number, begin in enumerate(range(0, args.histories, TOGETHER)):
        yield Share(args.seed + number, min(TOGETHER, args.histories - begin), args.steps)


def live_through(share: Share) -> Seen:
    seen = Seen()

    @seed(share.seed)
    class Counted(Histories):
        @invariant()
        def everything_holds(self) -> None:
            super().everything_holds()
            seen.steps += 1

        def teardown(self) -> None:
            super().teardown()
            if self.world is not None:
                seen.histories += 1
                seen.events += self.world.events

    look = settings(
        max_examples=share.count,
        stateful_step_count=share.steps,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )
    try:
        run_state_machine_as_test(Counted, settings=look)
    except Exception as error:  # noqa: BLE001  whatever it is, it's a finding
        seen.broken += 1
        told = "".join(traceback.format_exception(error, limit=-3))
        print(f"seed {share.seed}: {told}", flush=True)
    return seen


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--histories", type=int, default=10_000)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    parser.add_argument("--seed", type=int, default=0, help="of the first hundred")
    args = parser.parse_args()
    total, begun = Seen(), time.monotonic()
    with ProcessPoolExecutor(args.jobs) as pool:
        for seen in pool.map(live_through, shares(args)):
            total.add(seen)
    print(
        f"{total.histories:,} histories, {total.steps:,} steps, {total.events:,} events told, "
        f"{time.monotonic() - begun:.0f} s, {total.broken} broken invariants"
    )
    return 1 if total.broken or total.histories < args.histories else 0


if __name__ == "__main__":
    sys.exit(main())
