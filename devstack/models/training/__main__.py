"""`python -m devstack.models.training sdxl|wan|measure|keep FOLDER`: see README.md."""

import argparse
import json
import os
import sys
from pathlib import Path

from devstack.models.training import keeping, measuring, sdxl, wan

_TRAIN = {"sdxl": sdxl.train, "wan": wan.train}


def main() -> int:
    """Return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m devstack.models.training", description=__doc__)
    parser.add_argument("what", choices=[*_TRAIN, "measure", "keep"])
    parser.add_argument("folder", type=Path, help="the pipeline's")
    parser.add_argument("--sheets", type=Path, help="a folder to see what was measured in")
    arguments = parser.parse_args()
    os.environ["HF_HUB_OFFLINE"] = "1"
    if arguments.what == "measure":
        figures = measuring.measure(arguments.folder, arguments.sheets)
        sys.stdout.write(f"{json.dumps(figures)}\n")
    elif arguments.what == "keep":
        sys.stdout.write(f"{keeping.keep(arguments.folder)}\n")
    else:
        _TRAIN[arguments.what](arguments.folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
