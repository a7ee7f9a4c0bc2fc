"""The worker's daemon. Read it in the order of one row's way.

`jobs` and `job_types` (the words), `ports` and `values` (the seams, and what crosses them),
`wakeups` (how a row is heard of), `intake` (claim), `leases` (hold), `executor` and `execution`
(carry), `admission` and
`scheduling` (the right to use the GPU), `engines` (the processes that hold models), `progress`,
`artifacts` and `store` (what is written back), `server` and `telemetry` (what others see),
`reloading` (other settings in the same process), and `app` (the one place where all of it is
wired). Beside that way: `cli` with `commands` (what an operator can ask), `doctor` (whether all
that a worker needs is there) and `settings`.
"""
