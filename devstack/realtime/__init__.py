"""A stand-in for Supabase Realtime, held to recorded frames of the real server.

Reading order: `server` (the handshake) · `connection` and `channel` (Phoenix) · `feed` (who is told
of the database's changes) · `poller` (when) · `delivery` (what they are told) · `faults` (how it
fails in tests). Pure modules: `frames`, `joins`, `bindings`, `filters`, `pgoutput`, `log`,
`payloads`, `rates`. README.md says what is left out.
"""

from devstack.realtime.faults import Faults
from devstack.realtime.server import Realtime
from devstack.realtime.settings import RealtimeSettings

__all__ = ["Faults", "Realtime", "RealtimeSettings"]
