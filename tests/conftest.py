"""What holds for all tests."""

from hypothesis import HealthCheck, settings

# No example has to be made or to pass within some time: the machine may be slow. All else is as
# hypothesis has it, which in CI takes the same examples each time.
settings.register_profile(
    "patient", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("patient")
