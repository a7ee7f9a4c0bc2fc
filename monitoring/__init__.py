"""What watches workers: rules, dashboards, the reference of metrics. No part of what is installed.

`python -m monitoring.make` writes the dashboards and `docs/metrics.md`; tests fail while these are
stale.
"""
