"""What engines write: every line of what is usual, the end of a flood."""

from daemon.engines.output import BURST_BYTES, KEPT_LINES, LINE_COSTS_BYTES, Output


def test_lines_are_cut_where_they_end() -> None:
    """Wherever the bytes were cut, and where a progress bar is drawn again."""
    output = Output(0)

    lines = [
        line for data in (b"fir", b"st\nbar 1\rbar 2\r", b"\n\nla") for line in output.feed(data, 0)
    ]

    assert lines == ["first", "bar 1", "bar 2"]
    assert list(output.end()) == ["la"]
    assert output.last_lines == ["first", "bar 1", "bar 2", "la"]


def test_a_line_without_end_comes_in_pieces() -> None:
    """Nobody holds megabytes for a line that may never end."""
    assert [len(line) for line in Output(0).feed(b"x" * 20_000, 0)] == [8192, 8192]


def test_what_a_load_says_is_passed_on() -> None:
    """Ten thousand lines at once are no flood."""
    assert len(list(Output(0).feed(b"a line of a usual length\n" * 10_000, 0))) == 10_000


def test_the_rest_of_a_flood_is_left_out_and_counted() -> None:
    """The line that was begun before it is whole, and so is what comes after."""
    output = Output(0)
    flood = b"y\n" * (BURST_BYTES // 2)

    before = list(output.feed(b"before\nbegun", 0))
    meanwhile = list(output.feed(flood, 1))
    assert output.flooded
    after = list(output.feed(b"after\n", 100))

    assert before == ["before"]
    assert meanwhile == []
    assert after == ["begun", f"({len(flood):,} bytes of output left out)", "after"]
    assert not output.flooded


def test_a_flood_that_goes_on_is_let_through_at_a_bounded_pace() -> None:
    """For an hour: as many lines as may come at once, and then some a second."""
    output = Output(0)

    lines = [line for second in range(3600) for line in output.feed(b"0123456789\n" * 1000, second)]

    assert len(lines) < BURST_BYTES / LINE_COSTS_BYTES + 3600 * 700


def test_the_last_lines_of_a_flood_explain_the_end() -> None:
    """An engine that dies of what it floods the log with says so last."""
    output = Output(0)
    list(output.feed(b"before\n", 0))
    list(output.feed(b"y\n" * BURST_BYTES + b"assertion failed\naborted\n", 1))

    assert output.last_lines[-2:] == ["assertion failed", "aborted"]
    [words] = output.end()
    assert words.endswith("bytes of output left out)")
    assert output.last_lines[-2:] == ["assertion failed", "aborted"]
    assert len(output.last_lines) == KEPT_LINES
