"""The HTTP side server. Reading order: reports, answers, errors, auth, app, service.

Rows over HTTP: desk, jobs, idempotency, submissions; row_events, looks, watching, events.

It answers before the rest of the daemon is built, so it imports only aiohttp and what is light.
"""
