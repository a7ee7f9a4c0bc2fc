"""The figures of the API's document, held by the default settings: so many at once, and no more.

The tables stand here as the document has them, and are compared with nothing but what happens.
"""

from collections import Counter
from collections.abc import Sequence

import pytest
from virtual_gpu import request

from daemon.model_specs import devices_from, specs_from
from daemon.scheduling.commands import Command, LoadModel, StartRun, UnloadModel
from daemon.scheduling.figures import Figures, Learner
from daemon.scheduling.models import GIB, gib
from daemon.scheduling.scheduler import Scheduler
from daemon.settings import load_settings
from daemon.values import Loaded

GENERATION_TIMES = """
| Model | Quality | Avg Time | VRAM Usage | Concurrent Jobs |
|-------|---------|----------|------------|-----------------|
| SDXL  | Fast    | 15s      | 8GB        | 2               |
| SDXL  | High    | 30s      | 12GB       | 1               |
| WAN   | Fast    | 5s       | 4GB        | 4               |
| WAN   | High    | 10s      | 6GB        | 2               |
| Video | Fast    | 60s      | 16GB       | 1               |
| Video | High    | 120s     | 20GB       | 1               |
| Chat  | N/A     | 5-15s    | 4GB        | 8               |
"""

WORKER_CONFIGS = {"sdxl": (2, 12), "wan": (4, 6), "video": (1, 16), "chat": (8, 4)}
"""`max_concurrent_jobs` and `memory_limit` in GB. The table above gives video 20 GB where this says
16: films in high quality couldn't run at all, so that its budget is the larger."""

ROWS = [
    [cell.strip() for cell in line.strip("| ").split("|")]
    for line in GENERATION_TIMES.strip().splitlines()[2:]
]
CLASSES = {
    (model.lower(), "fast" if quality == "N/A" else quality.lower()): (
        int(vram.removesuffix("GB")),
        int(at_once),
    )
    for model, quality, _, vram, at_once in ROWS
}
"""GB and runs at once by model and quality."""

BESIDE = {
    # 12 GB hold the weights and one in high quality, and nothing beside it.
    ("sdxl", "fast"): {1: 0, 2: 0},
    ("sdxl", "high"): {1: 0},
    # Four at once of whatever quality; two in high quality fill the 6 GB.
    ("wan", "fast"): {1: 1, 2: 1, 3: 1, 4: 0},
    ("wan", "high"): {1: 3, 2: 0},
    # One at once of whatever quality.
    ("video", "fast"): {1: 0},
    ("video", "high"): {1: 0},
}
"""Of each class, while so many of it run: how many of the model's other class run beside them."""

HOSTS = pytest.mark.parametrize("capacity_gb", [24, 48])


class Obeyed:
    """A scheduler by the default settings whose loads and unloads are done at once."""

    def __init__(self, capacity_gb: int) -> None:
        settings = load_settings()
        devices = devices_from([capacity_gb * GIB], settings.device)
        specs = specs_from(settings.enabled_models)
        self.weights = {spec.name: spec.weights_bytes for spec in specs}
        self.scheduler = Scheduler(specs, devices, max_pass_over_s=settings.max_pass_over_s)
        self.running: dict[str, tuple[str, str]] = {}
        self.most: Counter[tuple[str, str]] = Counter()
        self.now = 0.0
        self._number = 0

    def submit(self, key: tuple[str, str], count: int) -> None:
        """Submit so many at once."""
        names = [f"{key[0]}-{key[1]}-{self._number + each}" for each in range(count)]
        self._number += count
        self._obey(self.scheduler.submit_all([request(each, *key) for each in names], self.now))

    def know_that_runs_take(self, key: tuple[str, str], n_bytes: int) -> None:
        """Let the scheduler have learned it of many runs."""
        figures = Figures(peaks={(key[1], 0, 1): (n_bytes,) * 64})
        Learner(self.scheduler.state).recall({key[0]: figures})

    def end_one(self) -> None:
        """End the run that began first."""
        name = next(iter(self.running))
        del self.running[name]
        self._obey(self.scheduler.run_ended(name, self.now))

    def at_once(self) -> Counter[tuple[str, str]]:
        """Return how many of each class run."""
        return Counter(self.running.values())

    def _obey(self, commands: Sequence[Command]) -> None:
        for command in commands:
            self.now += 1
            match command:
                case StartRun(name):
                    each = self.scheduler.state.runs[name].request
                    self.running[name] = each.model, each.quality
                case LoadModel(model, on):
                    loaded = Loaded(self.weights[model], 0.0)
                    self._obey(self.scheduler.load_done(model, on, loaded, self.now))
                case UnloadModel(model, on):
                    self._obey(self.scheduler.unload_done(model, on, self.now))
        self.most |= self.at_once()
        for ledger in self.scheduler.state.ledgers.values():
            ledger.check()


@HOSTS
@pytest.mark.parametrize("key", CLASSES, ids="-".join)
def test_each_class_runs_as_often_at_once_as_the_table_says(
    key: tuple[str, str], capacity_gb: int
) -> None:
    """At once, for as long as there are enough, and never one more; and takes what it says."""
    footprint_gb, at_once = CLASSES[key]
    host = Obeyed(capacity_gb)
    host.submit(key, at_once)
    assert host.at_once() == {key: at_once}
    held = host.scheduler.state.ledgers[0].held_bytes
    assert held <= footprint_gb * GIB
    assert gib(held) == f"{footprint_gb} GB"
    host.submit(key, 3 * at_once)
    for _ in range(3 * at_once):
        assert host.at_once() == {key: at_once}
        host.end_one()

    assert host.most == {key: at_once}


@HOSTS
@pytest.mark.parametrize("key", CLASSES, ids="-".join)
def test_runs_that_take_little_are_no_more_at_once(key: tuple[str, str], capacity_gb: int) -> None:
    """Concurrency isn't only what the budget has room for."""
    host = Obeyed(capacity_gb)
    host.know_that_runs_take(key, GIB // 100)
    host.submit(key, 20)

    assert host.at_once() == {key: CLASSES[key][1]}


@HOSTS
@pytest.mark.parametrize("model", ["sdxl", "wan", "video"])
def test_qualities_that_take_little_share_the_models_slots(model: str, capacity_gb: int) -> None:
    """`max_concurrent_jobs` counts runs of both."""
    host = Obeyed(capacity_gb)
    for quality in ("high", "fast"):
        host.know_that_runs_take((model, quality), GIB // 100)
    for quality in ("high", "fast"):
        host.submit((model, quality), 20)

    assert sum(host.at_once().values()) == WORKER_CONFIGS[model][0]
    for key, running in host.at_once().items():
        assert running <= CLASSES[key][1]


@HOSTS
@pytest.mark.parametrize(
    ("key", "running", "beside"),
    [(key, running, beside) for key, each in BESIDE.items() for running, beside in each.items()],
)
def test_two_classes_of_a_model_share_its_slots_and_its_budget(
    key: tuple[str, str], running: int, beside: int, capacity_gb: int
) -> None:
    """Each mix, whichever came first."""
    model, quality = key
    other = model, "high" if quality == "fast" else "fast"
    host = Obeyed(capacity_gb)
    host.submit(key, running)
    host.submit(other, 10)

    assert host.at_once()[key] == running
    assert host.at_once()[other] == beside


@HOSTS
def test_no_mix_exceeds_a_limit(capacity_gb: int) -> None:
    """Everything is asked for many times: each class, model and budget stays within its figures."""
    host = Obeyed(capacity_gb)
    for _ in range(12):
        for key in CLASSES:
            host.submit(key, 3)
    while host.running:
        of_models = Counter(model for model, _ in host.running.values())
        for model, (at_once, limit_gb) in WORKER_CONFIGS.items():
            assert of_models[model] <= at_once
            largest_gb = max(
                [limit_gb, *(gb for (name, _), (gb, _) in CLASSES.items() if name == model)]
            )
            ledger = host.scheduler.state.ledgers[0]
            assert ledger.weights_of(model) + ledger.reserved_by(model) <= largest_gb * GIB
        host.end_one()
        host.now += 30
        host._obey(host.scheduler.tick(host.now))

    assert host.most == {key: at_once for key, (_, at_once) in CLASSES.items()}
    assert not host.scheduler.state.waiting


def test_what_fits_together_runs_together() -> None:
    """On 48 GB every family at once; on 24 GB all but films."""
    families = [("sdxl", "fast"), ("wan", "fast"), ("chat", "fast")]
    for capacity_gb, together in ((24, families), (48, [*families, ("video", "high")])):
        host = Obeyed(capacity_gb)
        for key in together:
            host.submit(key, 20)

        assert host.at_once() == {key: CLASSES[key][1] for key in together}
