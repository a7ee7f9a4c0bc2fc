"""What a scrape shows keeps Prometheus' conventions, with labels that are known beforehand."""

from monitoring_files import Promtool
from prometheus_client.parser import text_string_to_metric_families
from worked import OPEN, everything_happened

from daemon.telemetry.metrics import Metrics


def test_exposition_is_well_formed(promtool: Promtool) -> None:
    """Names, helps, types and units as Prometheus wants them: its own tool has nothing to say."""
    said = promtool("check", "metrics", text=everything_happened().exposition())

    assert said.strip() == ""


def test_all_that_is_described_is_exposed() -> None:
    """The reference tells of no metric that isn't there, and of every one that is."""
    metrics = everything_happened()
    families = {
        family.name + ("_total" if family.type == "counter" else ""): family
        for family in text_string_to_metric_families(metrics.exposition().decode())
    }

    assert set(families) == {each.name for each in metrics.described}
    for each in metrics.described:
        family = families[each.name]
        assert (family.type, family.documentation) == (each.kind, each.says)
        assert family.samples, each.name
        for sample in family.samples:
            assert set(sample.labels) - {"le"} == {label.name for label in each.labels}


def test_values_of_labels_are_those_that_are_described() -> None:
    """Also where strangers chose the words: nothing comes through as it was written."""
    metrics = everything_happened(names="x' or 1=1; drop table jobs")
    labels = {each.name: each.labels for each in metrics.described}

    for family in text_string_to_metric_families(metrics.exposition().decode()):
        name = family.name + ("_total" if family.type == "counter" else "")
        for label in labels[name]:
            found = {sample.labels[label.name] for sample in family.samples}
            if label in OPEN:
                continue
            assert found <= set(label.values), (name, label.name)


def test_names_say_their_units() -> None:
    """Base units only; what has none is a count, a state, or one of the API document's figures."""
    units = ("_seconds", "_bytes", "_ratio", "_celsius", "_watts", "_total")
    plain = {
        "ourvidz_worker_info",
        "ourvidz_ready",
        "ourvidz_jobs_processed",
        "ourvidz_average_generation_time",
        "ourvidz_success_rate",
        "ourvidz_gpu_utilization",
        "ourvidz_memory_usage",
        "ourvidz_system_prompt_respect_rate",
        "ourvidz_active_jobs",
        "ourvidz_queue_jobs",
        "ourvidz_admission_waiting_jobs",
        "ourvidz_model_residency",
        "ourvidz_leases_held",
        "ourvidz_wakeup_source_ready",
        "ourvidz_wakeup_source_proven",
        "ourvidz_live_streams",
    }
    described = Metrics().described

    assert {each.name for each in described if not each.name.endswith(units)} == plain
    assert all(each.name.endswith("_total") == (each.kind == "counter") for each in described)
