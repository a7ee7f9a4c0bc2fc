"""The code for each job type, and the runners that hold models.

Two halves that never mix. Requests (`params` and the modules it names) are checked and resolved in
the daemon's process and import no model library. Runs (`registry`, `chat`, `image`, `video` and the
runners) happen in an engine process, on the values that the first half resolved. What passes from
one to the other is defined in `requests`.
"""
