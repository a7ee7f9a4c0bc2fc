"""`python -m devstack.models [FOLDER] [--json]`: make the small models, print where they are."""

import argparse
import json
import os
import sys
from pathlib import Path
from typing import TextIO

from devstack.models.cache import cache_folder
from devstack.models.prepare import FOLDERS, PreparationError, make, prepare
from devstack.models.smollm2 import MissingWheelError


def main() -> int:
    """Return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m devstack.models", description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?", default=cache_folder())
    parser.add_argument("--json", action="store_true", help="print one line of JSON")
    parser.add_argument("--only", choices=sorted(FOLDERS), help="make this one, print nothing")
    arguments = parser.parse_args()
    # Everything is built from what is here: no hub is ever asked.
    os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
    try:
        if arguments.only:
            make(arguments.only, arguments.folder)
            return 0
        folders = prepare(arguments.folder, lambda line: _say(line, sys.stderr))
    except (MissingWheelError, PreparationError) as error:
        _say(str(error), sys.stderr)
        return 1
    if arguments.json:
        _say(json.dumps({name: str(folder) for name, folder in folders.items()}))
    else:
        for name, folder in folders.items():
            _say(f"{name:<6}{folder}")
    return 0


def _say(line: str, stream: TextIO = sys.stdout) -> None:
    stream.write(f"{line}\n")
    stream.flush()


if __name__ == "__main__":
    sys.exit(main())
