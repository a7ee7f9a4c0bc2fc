"""`ourvidz-worker doctor`: everything that a worker needs, tried for real.

`examination` runs all checks at once; each check is a function of one of the other modules, which
returns findings and may fail in any way: that is a finding too.
"""
