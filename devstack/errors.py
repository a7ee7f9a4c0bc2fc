"""What can stop the stack from starting, as errors with a sentence for a person."""


class StartError(RuntimeError):
    """The stack can't start; the message says why and what to do."""


class PortTaken(StartError):  # noqa: N818 - reads as the fact it states, like FileNotFound
    """Another program listens on the port that was asked for.

    Args:
        port: The port.
    """

    def __init__(self, port: int) -> None:
        super().__init__(f"port {port} on 127.0.0.1 is already in use; choose another one")
        self.port = port
