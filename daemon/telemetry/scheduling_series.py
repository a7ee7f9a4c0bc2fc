"""What the scheduler promised, and what became of it, as time series."""

from prometheus_client import CollectorRegistry, Counter, Gauge


class SchedulingSeries:
    """Promises: of ends, and of memory; and engines that don't keep to theirs."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._ends = Gauge(
            "ourvidz_eta_coverage_ratio",
            "Share of completed jobs that ended by the moment that they were first told",
            registry=registry,
        )
        self._memory = Gauge(
            "ourvidz_reservation_coverage_ratio",
            "Share of measured runs that stayed within their reservation",
            ["model", "quality"],
            registry=registry,
        )
        self._outside = Gauge(
            "ourvidz_vram_outside_bytes",
            "Device memory that others than this worker use",
            ["device"],
            registry=registry,
        )
        self._host = Gauge(
            "ourvidz_host_weights_bytes",
            "Memory of the host in which idle models wait",
            registry=registry,
        )
        self.leaks = Counter(
            "ourvidz_engine_leaks",
            "Engines that were replaced since they held more from run to run",
            ["model"],
            registry=registry,
        )
        self._ends.set(float("nan"))

    def ends_kept(self, coverage: float | None) -> None:
        """Show the share of promised ends that were kept; None: there were none."""
        self._ends.set(float("nan") if coverage is None else coverage)

    def memory_kept(self, model: str, quality: str, covered: float) -> None:
        """Show the share of a class's runs that stayed within what they were promised."""
        self._memory.labels(model, quality).set(covered)

    def outside(self, device: int, n_bytes: int) -> None:
        """Show what others use on a device."""
        self._outside.labels(str(device)).set(n_bytes)

    def host(self, n_bytes: int) -> None:
        """Show what weights hold in the host's memory."""
        self._host.set(n_bytes)
