"""One process per resident model: the daemon's side and the engine's side.

Reading order: `protocol` (what they say), `process` (the daemon's side), `group` and `surroundings`
(how a process starts and is made to end), `child` (the engine's side), `conversation` (its runs),
`inline` (an engine without a process), `factory` (which one a model gets).

The daemon's side never imports a model library; those live behind `handlers.registry`, which only
the engine's side calls.
"""
