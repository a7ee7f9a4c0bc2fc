"""The ledger's sums are right after any acts in any order."""

from hypothesis import given, settings
from hypothesis import strategies as st

from daemon.scheduling.models import DeviceSpec
from daemon.scheduling.vram import Ledger, VramInvariantError

Step = tuple[str, str, str, int]


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["hold", "settle", "reserve", "release", "gone"]),
            st.sampled_from("abc"),
            st.sampled_from("12345"),
            st.integers(0, 60),
        ),
        max_size=60,
    )
)
def test_no_order_of_acts_breaks_the_invariant(steps: list[Step]) -> None:
    """Each act is refused or keeps every sum; a refused one changes nothing."""
    book = Ledger(DeviceSpec(0, 110, 10))
    for act, model, run, n_bytes in steps:
        before = book.free_bytes
        try:
            match act:
                case "hold":
                    book.hold_weights(model, n_bytes, budget=50)
                case "settle":
                    book.settle_weights(model, n_bytes)
                case "reserve":
                    book.reserve(run, model, n_bytes)
                case "release":
                    book.release(run, model)
                case "gone":
                    book.release_model(model)
        except VramInvariantError:
            assert book.free_bytes == before
        book.check()
