"""What all connections of one server share."""

from dataclasses import dataclass
from typing import Any

import asyncpg

from devstack.realtime.authorization import Authorizer
from devstack.realtime.faults import Faults
from devstack.realtime.feed import ChangeFeed
from devstack.realtime.messages import MessageFeed
from devstack.realtime.rates import Limits
from devstack.realtime.settings import RealtimeSettings
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
    messages: MessageFeed
    pool: "asyncpg.Pool[Any]"
    limits: Limits
