"""A stand-in for Supabase Realtime, held to recorded frames of the real server.

Reading order: `server` (the handshake) · `connection` and `channel` (Phoenix) · `feed` (who is told
of the database's changes) · `delivery` (what they are told). Pure modules: `frames`, `joins`,
`bindings`, `filters`, `pgoutput`, `log`, `payloads`. README.md says what is left out.
"""

from devstack.realtime.faults import Faults
from devstack.realtime.server import Realtime
from devstack.realtime.settings import RealtimeSettings

__all__ = ["Faults", "Realtime", "RealtimeSettings"]
