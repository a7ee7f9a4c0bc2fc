"""The subcommands of `ourvidz-worker`, one module each, and what they share.

At their tops these modules import next to nothing, so that `--help` and the shell's completion
answer at once; what a command needs is imported when it runs.
"""
