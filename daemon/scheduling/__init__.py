"""Scheduling: who may use which device when. Pure: no I/O, no clock, no logger.

Reading order: `models` (what is needed), `vram` (the ledger), `residency`, `lanes` (who waits),
`state` (all of it, and its changes), `claims` and `policy` (what to do next), `demand`,
`scheduler` (events in, commands out), `snapshot`.
"""
