"""The worker on an MQTT broker: presence, telemetry, jobs' events, and commands. Off by default.

    topics    names                           messages   what is said, as JSON; pure
    outgoing  what waits to be sent, bounded  control    commands: checked, allowed, answered; pure
    link      one connection after another    service    all of it together

It never carries jobs: those come from the table alone. `docs/mqtt.md` describes it for users.
"""
