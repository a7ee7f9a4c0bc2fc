"""Which hosts and policies are simulated, and with which models."""

import pytest
from virtual_gpu import SHIPPED

from daemon.scheduling import rivals
from daemon.scheduling.models import GIB, DeviceSpec
from daemon.scheduling.policy import IndexPolicy
from daemon.settings import load_settings
from daemon.simulate_options import SimulateOptions
from daemon.simulate_worlds import Case, cases_of


@pytest.fixture(autouse=True)
def only_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting but the tests' own."""
    monkeypatch.delenv("OURVIDZ_DEVICE__SIMULATE_GB", raising=False)


def cases(options: SimulateOptions) -> list[Case]:
    return cases_of(options, load_settings(overrides={"max_pass_over_s": 77}), SHIPPED)


def test_a_partition_gives_each_model_a_pool_of_its_own() -> None:
    """Under the same policy without it, models have what they need."""
    pools, shared = cases(SimulateOptions(policy=("static-partition", "collate")))

    assert list(pools.world.models) == rivals.partition(SHIPPED)
    assert list(shared.world.models) == list(SHIPPED)


def test_the_shipped_policy_is_the_one_of_the_settings() -> None:
    """With their bound on how long a class is passed over."""
    [case] = cases(SimulateOptions())

    assert isinstance(case.policy, IndexPolicy)
    assert case.policy.max_pass_over_s == 77


def test_devices_keep_the_reserve_of_the_settings() -> None:
    """A simulated host has no more memory than a real one would have."""
    [case] = cases(SimulateOptions(gpu=(24.0, 48.0)))

    assert case.world.devices == [DeviceSpec(0, 24 * GIB, GIB), DeviceSpec(1, 48 * GIB, GIB)]


def test_a_policy_that_is_named_twice_is_simulated_once() -> None:
    """`all` beside names is all of them."""
    assert [case.policy_name for case in cases(SimulateOptions(policy=("lru", "lru")))] == ["lru"]
    assert len(cases(SimulateOptions(policy=("lru", "all")))) == 6
