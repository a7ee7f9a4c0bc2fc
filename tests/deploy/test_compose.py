"""compose.yaml, as the compose specification reads it."""

from typing import Any

import pytest
import yaml
from compose_spec import PyCompose
from deploy_files import DEPLOY, compose_text, instructions

from daemon.settings import _KNOWN_NAMES


def services() -> dict[str, Any]:
    return dict(yaml.safe_load(compose_text())["services"])


def test_compose_follows_the_specification() -> None:
    """Every field and value; a typing error is refused."""
    PyCompose.from_yaml(compose_text()).to_spec()
    for right, wrong in (
        ("stop_grace_period: 60s", "stop_grace_period: soon"),
        ("image", "imagge"),
    ):
        with pytest.raises(ValueError, match=r"services\.worker"):
            PyCompose.from_yaml(compose_text().replace(right, wrong, 1)).to_spec()


def test_the_worker_has_the_gpus_and_its_secrets() -> None:
    """As files that no child inherits, under names that the worker knows."""
    worker = services()["worker"]
    [device] = worker["deploy"]["resources"]["reservations"]["devices"]
    declared = yaml.safe_load(compose_text())["secrets"]

    assert (device["driver"], device["capabilities"]) == ("nvidia", ["gpu"])
    assert worker["environment"]["CREDENTIALS_DIRECTORY"] == "/run/secrets"
    assert set(worker["secrets"]) == declared.keys()
    assert {name.upper() for name in declared} <= _KNOWN_NAMES.keys()


def test_weights_and_state_are_mounted_where_the_worker_looks() -> None:
    """Weights to read only; the state where the image says."""
    mounts = {volume.split(":")[1]: volume for volume in services()["worker"]["volumes"]}
    environment = " ".join(rest for name, rest in instructions() if name == "ENV")

    assert mounts["/models"].endswith(":ro")
    assert f"OURVIDZ_STATE_DIR={mounts['/var/lib/ourvidz-worker'].split(':')[1]}" in environment


def test_monitoring_comes_only_when_asked_for() -> None:
    """And finds the files that it mounts."""
    others = {name: each for name, each in services().items() if name != "worker"}

    assert others.keys() == {"prometheus", "grafana"}
    for each in others.values():
        assert each["profiles"] == ["monitoring"]
        assert each["ports"][0].startswith("127.0.0.1:")
        for volume in each["volumes"]:
            source = volume.split(":")[0]
            if source.startswith("."):
                assert (DEPLOY / source).exists(), source


def test_prometheus_scrapes_the_worker_with_its_key() -> None:
    """By the job's name that alerts and dashboards know."""
    [job] = yaml.safe_load((DEPLOY / "prometheus.yml").read_text())["scrape_configs"]

    assert job["job_name"] == "ourvidz-worker"
    assert job["static_configs"] == [{"targets": ["worker:7861"]}]
    assert job["authorization"]["credentials_file"] == "/run/secrets/worker_api_key"
    assert services()["prometheus"]["secrets"] == ["worker_api_key"]
