"""The doctor on a host: clock, GPU, port and settings, each wrong in turn."""

import socket
import time
from pathlib import Path
from typing import Any

import pytest
from daemon_process import USUAL
from patients import Patient, bad
from projects import Project

from daemon.doctor.examination import Instruments
from daemon.job_types import Model
from daemon.telemetry.gpu import GpuSample

pytestmark = pytest.mark.asyncio(loop_scope="session")

GIB = 2**30


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*USUAL, "SUPABASE_URL", "SUPABASE_KEY", "DATABASE_URL", "WORKER_API_KEY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def bare(direct: Project, tmp_path: Path) -> Patient:
    """Bare PostgreSQL and a folder."""
    return Patient(direct, tmp_path)


async def test_a_clock_that_is_off(project: Project, tmp_path: Path) -> None:
    """Against the database's, or over REST against the Date header."""
    patient = Patient(project, tmp_path)
    slow = await patient.examined(instruments=Instruments(clock=lambda: time.time() - 10))
    wrong = await patient.examined(instruments=Instruments(clock=lambda: time.time() + 3600))

    assert bad(slow)["clock"][0] == "warning"
    assert "s behind the" in bad(slow)["clock"][1]
    assert bad(wrong)["clock"][0] == "failed"
    assert "s ahead of the" in bad(wrong)["clock"][1]


async def test_gpus_and_what_fits_them(bare: Patient) -> None:
    """The driver's own words where there is none; the numbers where a budget doesn't fit."""

    def none() -> tuple[GpuSample, ...]:
        raise OSError("NVML Shared Library Not Found")

    def small() -> tuple[GpuSample, ...]:
        return (GpuSample(0, "Tiny", None, GIB, 16 * GIB, 95.0),)

    real: dict[str, Any] = {"device": {"simulate_gb": None}}
    without = await bare.examined(instruments=Instruments(gpus=none), **real)
    found = await bare.examined(instruments=Instruments(gpus=small), **real)

    assert "no GPU: NVML Shared Library Not Found" in bad(without)["gpu"][1]
    assert bad(found)["gpu 0"][0] == "warning"
    assert "Tiny, 16.0 GB, of which 1.0 GB in use, 95 °C" in bad(found)["gpu 0"][1]
    assert "model video: its budget of 20 GB" in bad(found)["budgets"][1]


async def test_no_model_is_no_defect_of_the_doctor(bare: Patient) -> None:
    """The settings are what is wrong."""
    found = await bare.examined(models={model.value: {"enabled": False} for model in Model})

    assert "no model is enabled" in bad(found)["configuration"][1]
    assert not bad(found).keys() & {"gpu", "budgets"}


async def test_a_port_that_is_taken(bare: Patient) -> None:
    """By whom is not known, but that it is."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        taken.settimeout(0.1)
        found = await bare.examined(server={"port": taken.getsockname()[1]})
    assert "Address already in use" in bad(found)["port"][1]


async def test_wrong_settings_are_all_told(bare: Patient) -> None:
    """Then nothing else can be looked at."""
    found = await bare.examined(server={"port": -1}, leases={"duration_s": "x"})

    assert [f.check for f in found] == ["configuration"] * 2
    assert all(f.verdict == "failed" for f in found)
