"""The leader of a process group that measures it, as an engine does its own.

    python measured_group.py <command as JSON>

It starts the command, then answers each line on its input with what was measured, as JSON.
"""

import json
import subprocess
import sys

import msgspec

from daemon.engines.activity import ActivityMeter


def main() -> None:
    """Measure until the input ends."""
    meter = ActivityMeter()
    with subprocess.Popen(json.loads(sys.argv[1]), stdin=subprocess.PIPE) as child:
        for _ in sys.stdin:
            print(msgspec.json.encode(meter.measure()).decode(), flush=True)  # noqa: T201 -- the answer
        child.kill()


if __name__ == "__main__":
    main()
