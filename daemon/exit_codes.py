"""What the exit status says to whoever started the process; from 64 on as in sysexits.h.

The units in `systemd/` don't restart after MISTAKE and USAGE: the same start would fail again.
"""

OK = 0
"""It was told to stop, and has drained."""

MISTAKE = 1
"""A setting, a key or a schema is wrong: the operator must act. The message says how."""

USAGE = 2
"""The command line is wrong."""

DEFECT = 70
"""The worker broke: EX_SOFTWARE. Its jobs come back; start it again."""

TRY_AGAIN = 75
"""What is missing may come by itself (a driver, a port that is still taken): EX_TEMPFAIL."""

INTERRUPTED = 130
"""SIGINT came before there was anything to drain."""
