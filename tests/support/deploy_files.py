"""The files that operators start the worker with, read as their programs read them."""

import re
from collections import defaultdict
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
KUBERNETES = DEPLOY / "kubernetes"
DOCKERFILE = ROOT / "Dockerfile"
UNIT = ROOT / "systemd" / "ourvidz-worker.service"
TEMPLATE = ROOT / "systemd" / "ourvidz-worker@.service"

Directives = dict[str, list[str]]


def directives(unit: Path) -> Directives:
    """Return a unit's settings, each with its values in order."""
    found: Directives = defaultdict(list)
    for line in unit.read_text().splitlines():
        if "=" in line and not line.startswith("#"):
            name, _, value = line.partition("=")
            found[name].append(value)
    return found


def manifests() -> dict[str, dict[str, Any]]:
    """Return Kubernetes' resources by kind and name."""
    found = {}
    for path in sorted(KUBERNETES.glob("*.yaml")):
        for each in yaml.safe_load_all(path.read_text()):
            found[f"{each['kind']}/{each.get('metadata', {}).get('name', '')}"] = each
    return found


def compose_text() -> str:
    """Return compose.yaml with its variables' defaults."""
    return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", (DEPLOY / "compose.yaml").read_text())


def instructions() -> list[tuple[str, str]]:
    """Return the Dockerfile's instructions: name and arguments, continued lines joined."""
    lines = [
        line for line in DOCKERFILE.read_text().splitlines() if not line.lstrip().startswith("#")
    ]
    joined = re.sub(r"\\\n", " ", "\n".join(lines))
    return [
        (name, rest.strip())
        for name, _, rest in (line.partition(" ") for line in joined.splitlines() if line.strip())
    ]
