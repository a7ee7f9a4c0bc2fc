"""The manifests, as Kubernetes' and KEDA's schemas have them, and as the worker needs them."""

import copy
import json
import subprocess
from typing import Any

import kubernetes_validate
import pytest
import yaml
from deploy_files import DOCKERFILE, KUBERNETES, manifests
from javascript import FOLDER, node_with_client

from daemon.sections import ServerSettings
from daemon.settings import _KNOWN_NAMES

VERSIONS = ("1.29", "1.37")
"""An old cluster and a new one."""

OTHERS = frozenset({"ScaledObject", "TriggerAuthentication", "Kustomization"})
"""Kinds that Kubernetes itself doesn't know."""

CORE = sorted(name for name in manifests() if name.split("/")[0] not in OTHERS)


def pod() -> dict[str, Any]:
    return dict(manifests()["Deployment/ourvidz-worker"]["spec"]["template"]["spec"])


def worker() -> dict[str, Any]:
    [container] = pod()["containers"]
    return dict(container)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", CORE)
def test_kubernetes_takes_it(name: str, version: str) -> None:
    """Strictly: fields that the schema doesn't know are mistakes too."""
    kubernetes_validate.validate(manifests()[name], version, strict=True)


def test_a_mistake_would_be_seen() -> None:
    """What the test above stands on."""
    wrong = copy.deepcopy(manifests()["Deployment/ourvidz-worker"])
    wrong["spec"]["template"]["spec"]["terminationGracePeriodSecond"] = 60
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, VERSIONS[-1], strict=True)


def keda(*resources: dict[str, Any]) -> list[str]:
    done = subprocess.run(
        [node_with_client(), "keda.mjs"],
        cwd=FOLDER,
        input=json.dumps(resources),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return list(json.loads(done.stdout))


def test_keda_takes_it() -> None:
    """By the schemas of its own resources; a wrong one is refused."""
    scaled = manifests()["ScaledObject/ourvidz-worker"]
    trigger = manifests()["TriggerAuthentication/ourvidz-scaler"]
    assert keda(scaled, trigger) == []

    wrong = copy.deepcopy(scaled)
    wrong["spec"]["triggers"][0]["metadata"]["targetQueryValue"] = 300
    assert len(keda(wrong)) == 1


def test_keda_scales_the_deployment_by_a_login_that_is_there() -> None:
    """Names are the same on both sides."""
    scaled = manifests()["ScaledObject/ourvidz-worker"]["spec"]
    trigger = manifests()["TriggerAuthentication/ourvidz-scaler"]["spec"]
    assert f"Deployment/{scaled['scaleTargetRef']['name']}" in manifests()
    assert scaled["triggers"][0]["authenticationRef"] == {"name": "ourvidz-scaler"}
    [ref] = trigger["secretTargetRef"]
    assert ref["key"] in manifests()[f"Secret/{ref['name']}"]["stringData"]
    # A replica count in the Deployment would fight with the scaler's.
    assert "replicas" not in manifests()["Deployment/ourvidz-worker"]["spec"]


def test_probes_ask_what_never_waits() -> None:
    """Life by /health, work by /ready; the start has its own patience."""
    paths = {
        name: worker()[name]["httpGet"]["path"]
        for name in ("startupProbe", "livenessProbe", "readinessProbe")
    }
    assert paths == {
        "startupProbe": "/health", "livenessProbe": "/health", "readinessProbe": "/ready",
    }  # fmt: skip
    [port] = worker()["ports"]
    assert port["containerPort"] == ServerSettings().port


def test_nothing_more_is_allowed_than_needed() -> None:
    """The restricted standard of pods, and a root that can't be written."""
    security = worker()["securityContext"]
    assert pod()["securityContext"]["runAsNonRoot"] is True
    assert str(pod()["securityContext"]["runAsUser"]) in DOCKERFILE.read_text()
    assert pod()["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert security["allowPrivilegeEscalation"] is False
    assert security["readOnlyRootFilesystem"] is True
    assert security["capabilities"] == {"drop": ["ALL"]}
    assert worker()["resources"]["limits"]["nvidia.com/gpu"] == 1


def test_every_mount_has_its_volume() -> None:
    """What the worker writes to is writable, everything else isn't."""
    volumes = {volume["name"] for volume in pod()["volumes"]}
    assert {mount["name"] for mount in worker()["volumeMounts"]} == volumes
    writable = {
        mount["mountPath"] for mount in worker()["volumeMounts"] if not mount.get("readOnly")
    }
    assert writable == {"/var/lib/ourvidz-worker", "/tmp", "/dev/shm"}


def test_the_secret_s_keys_are_the_worker_s_variables() -> None:
    """In lower case, as files of the folder that the worker is told of."""
    keys = manifests()["Secret/ourvidz-worker"]["stringData"].keys()
    assert {key.upper() for key in keys} <= _KNOWN_NAMES.keys()
    assert "worker_api_key" in keys
    environment = {each["name"]: each.get("value") for each in worker()["env"]}
    mounts = {mount["mountPath"]: mount["name"] for mount in worker()["volumeMounts"]}
    assert mounts[str(environment["CREDENTIALS_DIRECTORY"])] == "credentials"


def test_selectors_find_the_pods() -> None:
    """The Deployment's, the Service's and the budget's."""
    labels = manifests()["Deployment/ourvidz-worker"]["spec"]["template"]["metadata"]["labels"]
    for name, path in (
        ("Deployment/ourvidz-worker", ("spec", "selector", "matchLabels")),
        ("Service/ourvidz-worker", ("spec", "selector")),
        ("PodDisruptionBudget/ourvidz-worker", ("spec", "selector", "matchLabels")),
    ):
        found: Any = manifests()[name]
        for key in path:
            found = found[key]
        assert found == labels, name


def test_the_kustomization_lists_what_is_there() -> None:
    """All but the example of secrets, and what needs KEDA."""
    found = yaml.safe_load((KUBERNETES / "kustomization.yaml").read_text())
    there = {path.name for path in KUBERNETES.glob("*.yaml")}
    assert set(found["resources"]) == there - {
        "kustomization.yaml", "secret.example.yaml", "scaledobject.yaml",
    }  # fmt: skip
