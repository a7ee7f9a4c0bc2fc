"""What users wrote is in no line of the log, whatever it is and wherever it begins."""

from typing import Any

from hypothesis import assume, given
from hypothesis import strategies as st

from daemon.telemetry.prompts import _HARMLESS, Prompts


@given(prompt=st.text(min_size=15, max_size=80), before=st.text(max_size=30), data=st.data())
def test_no_run_of_fifteen_characters_is_left(prompt: str, before: str, data: Any) -> None:
    """Any part of so many characters is found, wherever it begins."""
    stripped = prompt.strip()
    # A prompt that looks like an id is shown: lines need ids.
    assume(len(stripped) >= 15 and not _HARMLESS.fullmatch(stripped))
    start = data.draw(st.integers(0, len(stripped) - 15))
    part = stripped[start : start + data.draw(st.integers(15, len(stripped)))]
    prompts = Prompts()
    prompts.hold("c-0", {"prompt": prompt})

    assert part not in prompts.hide(f"{before}|{part}|")
