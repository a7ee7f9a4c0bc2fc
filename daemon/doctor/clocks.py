"""This host's clock against another one. Pure."""

from daemon.doctor.findings import Finding, failed, ok, warning

_WARN_S = 2.0
_FAIL_S = 30.0
"""Tokens that seem to come from the future are refused, and replays miss their gap."""
_ADVICE = "set the clock by NTP: `timedatectl set-ntp true`"


def clock_finding(whose: str, offset_s: float, uncertain_s: float = 0.0) -> Finding:
    """Judge a difference.

    Args:
        whose: the other clock.
        offset_s: how far that one is ahead of this host's, seconds.
        uncertain_s: what of it may be none, since the other clock was read coarsely.
    """
    apart = max(abs(offset_s) - uncertain_s, 0.0)
    way = "behind" if offset_s > 0 else "ahead of"
    seen = f"this host's clock is {abs(offset_s):.1f} s {way} {whose}"
    if apart >= _FAIL_S:
        return failed("clock", seen, _ADVICE)
    if apart >= _WARN_S:
        return warning("clock", seen, _ADVICE)
    return ok("clock", f"within {max(_WARN_S, uncertain_s):g} s of {whose}")
