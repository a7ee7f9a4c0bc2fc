"""What reaches the project, as the settings say: stores, wake-up sources, and broadcasts."""

from collections.abc import Mapping

from daemon.artifacts.local import LocalArtifacts
from daemon.artifacts.supabase import SupabaseArtifacts
from daemon.broadcaster import Broadcaster, BroadcastEvents
from daemon.feed import Feed
from daemon.ports import ArtifactStore, Database
from daemon.realtime_http import RealtimeHttp
from daemon.settings import Settings
from daemon.startup import StartupError
from daemon.store.postgres import PostgresStore
from daemon.store.supabase import SupabaseStore
from daemon.wakeups.listen import ListenSource, refuse_transaction_pooler
from daemon.wakeups.proof import ProvableSource
from daemon.wakeups.realtime import BroadcastSource, RealtimeSource


def make_store(settings: Settings, pool_size: int | None = None) -> Database:
    """Return the store that the settings name; a direct connection wins.

    Raises:
        StartupError: they name none.
    """
    database, supabase = settings.database, settings.supabase
    if database.dsn is not None:
        return PostgresStore(
            database.dsn.get_secret_value(),
            pool_size=pool_size or database.pool_size,
            statement_timeout_s=database.statement_timeout_s,
        )
    if supabase.url is None or supabase.credentials is None:
        raise StartupError("no database is configured")
    return SupabaseStore(supabase.url, supabase.credentials, timeout_s=supabase.timeout_s)


def make_artifacts(settings: Settings) -> ArtifactStore:
    """Return where result files are kept.

    Raises:
        StartupError: it is Supabase Storage, and no project is configured.
    """
    where = settings.artifacts
    buckets: Mapping[str, str] = {
        "image": where.images,
        "video": where.videos,
        "thumbnail": where.thumbnails,
    }
    if where.kind == "local":
        return LocalArtifacts(where.folder, buckets, where.public_url)
    supabase = settings.supabase
    if supabase.url is None or supabase.credentials is None:
        raise StartupError("no Supabase Storage is configured")
    return SupabaseArtifacts(
        supabase.url,
        supabase.credentials,
        buckets,
        timeout_s=supabase.timeout_s,
        signed_for_s=where.signed_url_s,
    )


def make_sources(settings: Settings) -> list[ProvableSource]:
    """Return every source that is wanted and can be had, the fastest first.

    Raises:
        StartupError: the connection string can't be listened on.
    """
    wanted = settings.wakeups
    sources: list[ProvableSource] = []
    dsn, supabase = settings.database.dsn, settings.supabase
    if wanted.listen and dsn is not None:
        if refusal := refuse_transaction_pooler(dsn.get_secret_value()):
            raise StartupError(refusal)
        sources.append(ListenSource(dsn.get_secret_value()))
    if supabase.url is not None and supabase.credentials is not None:
        kinds = [BroadcastSource] * wanted.broadcast + [RealtimeSource] * wanted.realtime
        sources += [
            kind(supabase.url, supabase.credentials, recycle_after_s=wanted.recycle_after_s)
            for kind in kinds
        ]
    return sources


def make_broadcaster(settings: Settings, feed: Feed, events: BroadcastEvents) -> Broadcaster | None:
    """Return what sends jobs' steps to their owners, following them from now on.

    Returns:
        None where that isn't wanted, or there is no project.
    """
    supabase = settings.supabase
    if not settings.live.broadcast or supabase.url is None or supabase.credentials is None:
        return None
    endpoint = RealtimeHttp(supabase.url, supabase.credentials, timeout_s=supabase.timeout_s)
    return Broadcaster(feed, endpoint, settings.live, events)
