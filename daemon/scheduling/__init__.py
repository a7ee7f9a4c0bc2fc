"""Scheduling: who may use which device when. Pure: no I/O, no clock, no logger.

Reading order: `models` (what is needed), `vram` (the ledgers), `residency`, `lanes` (who waits),
`facts`, `state` and `moves` (all of it, and its changes), `policy` (what to do next) with `claims`,
`victims`, `room`, `worth`, `judge` and `openings`, `demand`, `scheduler` (events in, commands out),
`snapshot`. What is learned: `estimates`, `seconds`, `leaks`, `learning`, and `figures`, which
outlive a restart. Why who waits: `reasons`, `accounting`, `words`. The same core in virtual time:
`virtual`, then `forecast` (the live queue; `calibration` makes promises of it) and `simulation` (a
trace), by which `rivals` are compared; `optimum` with its `program`, `search`, and lower bounds:
`bound`, and `priced` with its `graph`, `payments` and `earnings`.
"""
