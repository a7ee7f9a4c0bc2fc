"""The log as the settings want it, with every secret of theirs made known to the redaction."""

from daemon.settings import Settings
from daemon.telemetry import logs
from daemon.telemetry.redaction import register_secret


def configure_logs(settings: Settings) -> None:
    """Log by these settings from now on; what was a secret before stays one."""
    learn_secrets(settings)
    logs.configure(settings.log.level, settings.log.format, prompts=settings.log.prompts)


def learn_secrets(settings: Settings) -> None:
    """Have these secrets left out of the log."""
    supabase = settings.supabase
    secrets = (
        settings.database.dsn, supabase.key, supabase.token, settings.server.api_key,
        settings.mqtt.password, *settings.tracing.headers.values(),
    )  # fmt: skip
    for secret in secrets:
        if secret is not None:
            register_secret(secret.get_secret_value())
