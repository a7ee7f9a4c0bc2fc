"""Traces of jobs for an OpenTelemetry collector. Off by default, and not imported then.

    plan     from a run that has ended to its spans; pure
    export   spans to the collector, in batches, from a thread of its own

`docs/tracing.md` describes them for users.
"""
