"""The run that a freshly loaded language model makes for nobody."""

from handlers.requests import Message, TextRequest

WARM_UP = TextRequest(
    messages=[Message("user", "Hello")], max_tokens=1, temperature=0, top_p=1, seed=0
)


class Unheard:
    """Implements `base.Control` for a run that nobody watches."""

    def step(
        self, current_step: str, fraction: float, step: int | None = None, steps: int | None = None
    ) -> None:
        """Tell nobody."""

    def tell(self, text: str) -> None:
        """Tell nobody."""

    def show(self, picture: bytes) -> None:
        """Show nobody."""

    def check(self) -> None:
        """Go on."""
