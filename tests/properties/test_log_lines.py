"""One event is one line, whoever has written what is in it."""

import logging
import re

from hypothesis import given
from hypothesis import strategies as st

from daemon.telemetry import line_forms

# These end a line, drive a terminal or turn text around; chance alone would hardly ever draw them.
harmful = st.sampled_from("\n\r\x0b\x1b\x85\u2028\u2029\u202e\u2066\ud800")
texts = st.lists(st.text(alphabet=st.characters(), max_size=20) | harmful, max_size=6).map("".join)


@given(text=texts)
def test_no_value_makes_a_second_line(text: str) -> None:
    """Whatever a stranger writes into a row stays inside its line and drives no terminal."""
    record = logging.LogRecord("daemon", logging.INFO, "f", 1, text, None, None)
    record.fields = {"value": text, text: 1}

    line = line_forms.TextFormatter().format(record)

    assert len(line.splitlines()) == 1
    assert not re.search(r"[\x00-\x1f\x7f-\x9f\u202e\ud800-\udfff]", line)
    line.encode()
