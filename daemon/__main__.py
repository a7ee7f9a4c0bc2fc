"""`python -m daemon`: the same as the `ourvidz-worker` command."""

from daemon.cli import main

if __name__ == "__main__":
    main()
