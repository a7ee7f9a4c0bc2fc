"""Wake-ups: how the daemon hears that work may exist.

A wake-up is a hint. Its content is ignored and it may be lost, doubled or late without harm: it
sets one flag, and the claim in the database decides. What can go wrong is only that nobody says
anything, so every source proves that it is alive or says that it isn't, and the sweep's timer
goes on whatever the sources say.

Reading order: `link` (a connection's states, pure), `subscriptions` (row changes, broadcast),
`generation` and `client` (one Realtime connection's life), `realtime` (one generation after
another), `listen` (PostgreSQL's LISTEN), `sweep` (the timer).
"""
