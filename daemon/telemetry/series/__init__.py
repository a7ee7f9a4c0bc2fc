"""Every time series of the daemon, one module a subject: names, help, labels and how they are fed.

`daemon.telemetry.metrics.Metrics` holds one of each. `docs/metrics.md` is made from them.
"""
