"""The Supabase project: whether it is there, what its gateway says to the key, and the token."""

import asyncio
from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import httpx

from daemon.credentials import ROLE, Credentials, Validity, claims_of, expiry_of
from daemon.doctor.clocks import clock_finding
from daemon.doctor.findings import Finding, failed, ok, skipped, warning
from daemon.settings import Settings

_POWERLESS = frozenset({"anon", "authenticated"})
_DAY_S = 86400
_DATE_STEP_S = 1.0
"""The Date header has whole seconds, and may be cached for one."""
_TOKEN_ADVICE = "make one with `ourvidz-worker token`, where the project's JWT secret is"  # noqa: S105 -- advice


async def look(settings: Settings, clock: Callable[[], float]) -> list[Finding]:
    """Return what the project says to the key and the token."""
    supabase = settings.supabase
    if supabase.url is None:
        return [skipped("project", "no Supabase project is configured")]
    if supabase.credentials is None:
        return [failed("project", "SUPABASE_URL is set without a key", "set SUPABASE_KEY")]
    found = [*_credentials(supabase.url, supabase.credentials, clock())]
    url = f"{supabase.url.rstrip('/')}/rest/v1/rpc/ourvidz_schema_version"
    try:
        client = await asyncio.to_thread(httpx.AsyncClient, timeout=supabase.timeout_s)
        async with client:
            before = clock()
            answer = await client.post(url, headers=supabase.credentials.headers(), json={})
            after = clock()
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        seen = f"{_host(supabase.url)} can't be reached: {str(error) or type(error).__name__}"
        advice = "is SUPABASE_URL right, and may this host reach it?"
        return [failed("project", seen, advice), *found]
    found = [_answered(answer, supabase.url), *found]
    if date := answer.headers.get("date"):
        offset = parsedate_to_datetime(date).timestamp() - (before + after) / 2
        found.append(clock_finding("the project's", offset + _DATE_STEP_S / 2, _DATE_STEP_S))
    return found


def _answered(answer: httpx.Response, url: str) -> Finding:
    """Read what gateway and REST interface say."""
    said = _json(answer)
    code, message = str(said.get("code") or ""), str(said.get("message") or "")
    host = _host(url)
    if answer.is_success:
        return ok("project", f"{host} takes the key, and its REST interface the token's rights")
    if "api key" in message.lower():
        return failed(
            "project",
            f"{host} refuses the key: {message}",
            "set SUPABASE_KEY to a key of this project (its settings, API keys)",
        )
    if code.startswith("PGRST30"):
        return failed("project", f"{host} refuses the token ({message})", _TOKEN_ADVICE)
    if code == "PGRST202":
        return failed(
            "project",
            f"{host} takes the key; its database has no ourvidz-worker schema",
            "run `ourvidz-worker migrate`",
        )
    if code == "42501":
        return failed(
            "project",
            f"{host} takes the key, which has not the worker's rights: {message}",
            f"set SUPABASE_WORKER_TOKEN beside it: {_TOKEN_ADVICE}",
        )
    seen = f"{host} answers {answer.status_code} {message or answer.reason_phrase}"
    return failed("project", seen, "is SUPABASE_URL a Supabase project, and is it running?")


def _credentials(url: str, credentials: Credentials, now: float) -> list[Finding]:
    """Say what key and token tell of themselves."""
    found = []
    key, bearer = claims_of(credentials.key), claims_of(credentials.bearer)
    project = str(key.get("ref") or "")
    if project and url_project(url) not in {None, project}:
        found.append(
            failed(
                "key",
                f"the key belongs to project {project}, SUPABASE_URL names {url_project(url)}",
                "take both from the same project",
            )
        )
    role = str(bearer.get("role") or "")
    what = "token" if credentials.token else "key"
    if role in _POWERLESS:
        seen = f"the {what}'s role is {role}, which may not run a worker"
        found.append(failed(what, seen, f"set SUPABASE_WORKER_TOKEN: {_TOKEN_ADVICE}"))
    elif credentials.validity(now) is not Validity.FINE:
        judge = failed if credentials.validity(now) is Validity.OVER else warning
        found.append(judge(what, str(credentials.complaint(now)), _TOKEN_ADVICE))
    elif role == "service_role":
        seen = "a service role key has far more rights than a worker needs"
        found.append(warning(what, seen, f"use a publishable key and a token: {_TOKEN_ADVICE}"))
    else:
        found.append(ok(what, _described(credentials, role, now)))
    return found


def _described(credentials: Credentials, role: str, now: float) -> str:
    expires_at = expiry_of(credentials.bearer)
    if not role:
        return "a key that says nothing of itself"
    until = "for ever" if expires_at is None else f"for {(expires_at - now) / _DAY_S:.0f} days"
    rights = "the worker's rights alone" if role == ROLE else f"the role {role}"
    return f"{rights}, {until}"


def url_project(url: str) -> str | None:
    """Return the project that a hosted address names; None for others."""
    host = urlsplit(url).hostname or ""
    return host.partition(".")[0] if host.endswith(".supabase.co") else None


def _json(answer: httpx.Response) -> Mapping[str, Any]:
    try:
        found = answer.json()
    except ValueError:
        return {}
    return found if isinstance(found, Mapping) else {}


def _host(url: str) -> str:
    return urlsplit(url).hostname or url[:100]
