"""Who may join private channels and send to them."""

from typing import Protocol

from devstack.realtime.tokens import Credentials


class Authorizer(Protocol):
    """Decides about private channels; public ones are open to every accepted token."""

    async def may_read(self, sub_topic: str, who: Credentials) -> bool:
        """Whether a channel may be joined."""

    async def may_write(self, sub_topic: str, who: Credentials) -> bool:
        """Whether a message may be sent to it by a client."""


class ServiceRoleOnly:
    """The rule of a project without policies on `realtime.messages`."""

    async def may_read(self, sub_topic: str, who: Credentials) -> bool:  # noqa: ARG002 - one rule
        """Only the role that passes row level security."""
        return who.role == "service_role"

    async def may_write(self, sub_topic: str, who: Credentials) -> bool:
        """As for reading."""
        return await self.may_read(sub_topic, who)


def unauthorized(sub_topic: str) -> str:
    """Word the refusal as the real server does."""
    return f"You do not have permissions to read from this Channel topic: {sub_topic}"
