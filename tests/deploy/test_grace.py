"""Every supervisor waits longer than the drain, or jobs are killed instead of released."""

import configparser
import re
import tomllib

import pytest
import yaml
from deploy_files import (
    DEPLOY,
    DOCKERFILE,
    KUBERNETES,
    TEMPLATE,
    UNIT,
    compose_text,
    directives,
    manifests,
)

from daemon.sections import StopSettings
from daemon.serving import OUTBOX_DRAIN_S
from daemon.telemetry.mqtt import link
from daemon.telemetry.tracing import export

ENGINES_END_S = 5
REQUESTS_END_S = 5
WAITED_S = 60
"""What every file says."""


def _supervisord() -> int:
    found = configparser.ConfigParser(interpolation=None)
    found.read(DEPLOY / "supervisord.conf")
    return int(found["program:ourvidz-worker"]["stopwaitsecs"])


def _compose() -> int:
    period = yaml.safe_load(compose_text())["services"]["worker"]["stop_grace_period"]
    return int(period.removesuffix("s"))


def _docker() -> int:
    [seconds] = re.findall(r"--stop-timeout (\d+)", DOCKERFILE.read_text())
    return int(seconds)


def _kubernetes() -> int:
    pod = manifests()["Deployment/ourvidz-worker"]["spec"]["template"]["spec"]
    return int(pod["terminationGracePeriodSeconds"])


def test_what_every_file_says_is_above_the_drain() -> None:
    """The two steps, the last outcomes, engines' ends and open requests, by their defaults."""
    stop = StopSettings()
    inner = stop.grace_s + stop.release_s + OUTBOX_DRAIN_S + ENGINES_END_S + REQUESTS_END_S
    # A broker is told offline and then let go; traces are sent meanwhile.
    inner += max(2 * link.GOODBYE_S, export.GOODBYE_S)
    assert inner < WAITED_S


@pytest.mark.parametrize(
    "waits",
    [
        lambda: int(directives(UNIT)["TimeoutStopSec"][0]),
        lambda: int(directives(TEMPLATE)["TimeoutStopSec"][0]),
        _supervisord,
        _compose,
        _docker,
        _kubernetes,
    ],
    ids=["unit", "template", "supervisord", "compose", "docker", "kubernetes"],
)
def test_every_supervisor_waits_as_long(waits: "pytest.FixtureRequest") -> None:
    """One figure, so that who raises it finds all of them."""
    assert waits() == WAITED_S


def test_the_sample_settings_are_those_defaults() -> None:
    """The ConfigMap shows where a longer drain is set."""
    [text] = yaml.safe_load((KUBERNETES / "configmap.yaml").read_text())["data"].values()
    assert StopSettings(**tomllib.loads(text)["stop"]) == StopSettings()
