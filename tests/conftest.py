"""What holds for all tests."""

import signal

from hypothesis import HealthCheck, settings

# A shell that runs the tests in the background has Ctrl-C ignored, also in what they start.
signal.signal(signal.SIGINT, signal.default_int_handler)

# No example has to be made or to pass within some time: the machine may be slow. All else is as
# hypothesis has it, which in CI takes the same examples each time.
settings.register_profile(
    "patient", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("patient")
