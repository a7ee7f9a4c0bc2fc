"""What all connections of one server share."""

from dataclasses import dataclass

from devstack.realtime.authorization import Authorizer
from devstack.realtime.feed import ChangeFeed
from devstack.realtime.settings import Faults, RealtimeSettings
from devstack.realtime.tokens import Verifier
from devstack.realtime.topics import Topics


@dataclass(frozen=True)
class Node:
    """The server's parts, handed to each connection and channel."""

    settings: RealtimeSettings
    faults: Faults
    verifier: Verifier
    authorizer: Authorizer
    topics: Topics
    feed: ChangeFeed
