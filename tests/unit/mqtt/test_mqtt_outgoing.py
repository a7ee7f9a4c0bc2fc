"""What waits for a broker is bounded: the latest of each kind, and of too much the oldest goes."""

from daemon.telemetry.mqtt.outgoing import Message, Outgoing


def message(topic: str) -> Message:
    return Message(topic, topic.encode)


def taken(outgoing: Outgoing) -> list[str]:
    found = []
    while (each := outgoing.take()) is not None:
        found.append(each.topic)
    return found


def test_the_latest_of_a_kind_is_sent() -> None:
    """In the place of the one before; order stays."""
    outgoing = Outgoing(10)
    for key, topic in (("a", "a1"), ("b", "b1"), ("a", "a2")):
        outgoing.put(key, message(topic))

    assert taken(outgoing) == ["a2", "b1"]
    assert (outgoing.counts.sent, outgoing.counts.dropped) == (2, 0)


def test_of_too_much_the_oldest_goes() -> None:
    """And is counted."""
    outgoing = Outgoing(3)
    for number in range(10):
        outgoing.put(number, message(str(number)))

    assert taken(outgoing) == ["7", "8", "9"]
    assert outgoing.counts.dropped == 7


def test_no_text_is_made_of_what_isn_t_sent() -> None:
    """A drain of thousands of jobs must not pay for it."""
    made: list[int] = []
    outgoing = Outgoing(1)
    for number in range(3):
        outgoing.put("k", Message("t", lambda number=number: bytes(made.append(number) or 0)))

    assert made == []
    first = outgoing.take()
    assert first is not None
    first.make()
    assert made == [2]


def test_an_urgent_one_stays_until_it_is_sent() -> None:
    """A link that fails in between leaves it for the next; a newer one isn't lost either."""
    outgoing = Outgoing(10)
    outgoing.put_urgent("status", message("online"))
    assert outgoing.urgent_waits.is_set()

    first = outgoing.next_urgent()
    assert first == outgoing.next_urgent()
    assert first is not None
    outgoing.put_urgent("status", message("draining"))
    outgoing.sent_urgent(*first)
    second = outgoing.next_urgent()
    assert second is not None
    assert second[1].topic == "draining"
    outgoing.sent_urgent(*second)

    assert outgoing.next_urgent() is None
    assert not outgoing.urgent_waits.is_set()


def test_urgent_ones_are_bounded_too() -> None:
    """Somebody may ask for answers faster than the broker takes them."""
    outgoing = Outgoing(2)
    for number in range(5):
        outgoing.put_urgent(number, message(str(number)))

    assert len(outgoing) == 2
    assert outgoing.counts.dropped == 3
