"""One process per resident model: the daemon's side and the engine's side.

Reading order: `protocol` (what they say), `process` (the daemon's side) with `answers`, `lifetime`
and `group` (how a process starts and is made to end), `losses` (how it was lost), `heartbeat` and
`watch` (whether it hangs), `surroundings` (what it inherits); then the engine's side: `child`,
`guard` (ends it when the daemon is gone), `model_side` (the model and its runs), `outbox`. Beside
them `inline` (an engine without a process), `factory` (which one a model gets) and `options` (what
an operator can set of it), `pool` (who owns them), `moves` (what the pool has them do) and
`memory_back` (when their bytes are free again).

The daemon's side never imports a model library; those live behind `handlers.registry`, which only
the engine's side calls.
"""
