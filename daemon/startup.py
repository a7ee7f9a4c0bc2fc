"""What can be wrong at start, in words that say what to do about it."""


class StartupError(Exception):
    """The worker can't start; the message is for the operator."""


class NotYetError(StartupError):
    """The same, where another start may find it mended: a driver, a port, a predecessor's end."""
