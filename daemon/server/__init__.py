"""The HTTP side server. Reading order: reports, answers, errors, auth, app, service.

It answers before the rest of the daemon is built, so it imports only aiohttp and what is light.
"""
