"""What can be checked before the first job: all problems at once, each with what to do about it."""

import re
from collections.abc import Mapping
from pathlib import Path

from daemon.job_types import Model
from daemon.sections import ModelSettings
from daemon.settings import Settings

_PATH_STARTS = ("/", "./", "../", "~")
"""What tells a folder from a hub's name such as `Qwen/Qwen2.5-7B-Instruct`."""


def problems(settings: Settings) -> list[str]:
    """Return a sentence for each setting that can't work, whatever the database says."""
    return [
        *_database_problems(settings),
        *_artifact_problems(settings),
        *_live_problems(settings),
        *([] if settings.enabled_models else ["no model is enabled: see models.<model>.enabled"]),
        *_model_problems(settings.enabled_models),
    ]


def _database_problems(settings: Settings) -> list[str]:
    supabase = settings.supabase
    if supabase.url and not supabase.key:
        message = (
            "SUPABASE_URL is set without a key: set SUPABASE_KEY to the project's publishable key "
            "and SUPABASE_WORKER_TOKEN to a token of `ourvidz-worker token`, or "
            "SUPABASE_SERVICE_ROLE_KEY alone"
        )
        return [message]
    if supabase.token and not _is_jwt(supabase.token.get_secret_value()):
        return ["SUPABASE_WORKER_TOKEN is no JWT: make one with `ourvidz-worker token`"]
    if supabase.url and not supabase.url.startswith(("http://", "https://")):
        return [f"SUPABASE_URL is no http address: {supabase.url[:100]}"]
    if settings.database.dsn is None and not supabase.url:
        return ["no database: set DATABASE_URL, or SUPABASE_URL and SUPABASE_KEY"]
    return []


def _artifact_problems(settings: Settings) -> list[str]:
    if settings.artifacts.kind == "supabase" and not settings.supabase.url:
        message = (
            "artifacts go to Supabase Storage, but SUPABASE_URL is not set: "
            "set it, or OURVIDZ_ARTIFACTS__KIND=local"
        )
        return [message]
    return []


def _live_problems(settings: Settings) -> list[str]:
    if settings.live.broadcast and not settings.supabase.url:
        message = (
            "live.broadcast sends through Supabase Realtime, but SUPABASE_URL is not set: "
            "set it and SUPABASE_KEY, or OURVIDZ_LIVE__BROADCAST=false"
        )
        return [message]
    return []


def _model_problems(models: Mapping[Model, ModelSettings]) -> list[str]:
    found = []
    for model, settings in models.items():
        if settings.runner == "fake" or not names_a_folder(settings.path):
            continue
        if not Path(settings.path).expanduser().exists():
            found.append(
                f"model {model}: {settings.path} does not exist: put the weights there, set "
                f"OURVIDZ_MODELS__{model.upper()}__PATH, or serve other models with --worker-type"
            )
    return found


def names_a_folder(path: str) -> bool:
    """Whether a model's path is one of this host, and no hub's name."""
    return path.startswith(_PATH_STARTS)


def _is_jwt(token: str) -> bool:
    return re.fullmatch(r"[\w-]+\.[\w-]+\.[\w-]+", token, re.ASCII) is not None
