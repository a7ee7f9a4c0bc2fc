"""The keys that open the server: from the settings, and from a file that may change meanwhile.

Several keys may bear one name: that is how a key is replaced. The new one is added, its holder
moves over, the old one is taken away; the name's limits hold for both.

    file is good       its keys count from now on
    file is broken     the last good keys stay, and `complaint` says what is wrong
    file at the start  must be good: there is nothing to fall back on
"""

import asyncio
import hmac
import logging
import re
from collections.abc import AsyncIterator, Iterable
from hashlib import sha256
from pathlib import Path

from aiohttp import web

from daemon.sections import KEY_NAME, ServerSettings
from daemon.settings import SettingsError
from daemon.telemetry.redaction import register_secret

_log = logging.getLogger("daemon.server")

DEFAULT = "default"
"""The name of `server.api_key`."""

LOOK_EVERY_S = 2.0
"""Between two looks at the file."""

_MAX_FILE_BYTES = 2**20

_NAME = re.compile(KEY_NAME)
_SEPARATOR = re.compile(r"\s*[:=]\s*")


class BrokenKeysError(Exception):
    """A file of keys can't be used; the message has no key in it."""


class KeyRing:
    """Knows whose key is shown.

    Args:
        given: name and key of those that don't change.
        file: where further ones are; must be good now.
        look_every_s: seconds between two looks at the file.

    Raises:
        BrokenKeysError: the file can't be used.
    """

    def __init__(
        self,
        given: Iterable[tuple[str, str]] = (),
        file: Path | None = None,
        *,
        look_every_s: float = LOOK_EVERY_S,
    ) -> None:
        self.complaint: str | None = None
        self._file = file
        self._look_every_s = look_every_s
        self._given = _digests(given)
        self._content = b"" if file is None else _read(file)
        self._found = () if file is None else _digests(parse_keys(self._content))

    @classmethod
    def of(cls, settings: ServerSettings) -> "KeyRing":
        """Return the keys that the settings name.

        Raises:
            SettingsError: the file of keys can't be used.
        """
        given = [(name, key.get_secret_value().strip()) for name, key in settings.api_keys.items()]
        if blank := [name for name, key in given if not key]:
            raise SettingsError(f"server.api_keys.{blank[0]}: the key is blank")
        key = usable_key(settings.api_key.get_secret_value() if settings.api_key else None)
        if key is not None:
            given.append((DEFAULT, key))
        file = settings.api_keys_file
        try:
            return cls(given, None if file is None else file.expanduser())
        except BrokenKeysError as error:
            raise SettingsError(f"server.api_keys_file: {file}: {error}") from None

    @property
    def required(self) -> bool:
        """Whether callers must show a key at all."""
        return bool(self._given) or self._file is not None

    def name_of(self, shown: bytes) -> str | None:
        """Return the name of the key that is shown; None: nobody's.

        Digests are of one length, and every one of them is compared whatever the others said, so
        that the time tells neither which key was near nor how many characters were right.
        """
        digest = sha256(shown).digest()
        name = None
        for each, expected in (*self._given, *self._found):
            if hmac.compare_digest(digest, expected):
                name = each
        return name

    async def look(self) -> None:
        """Read the file again, and take what it says if it is good."""
        if self._file is None:
            return
        try:
            # A file on a network may take its time, and the server's answers needn't.
            content = await asyncio.to_thread(_read, self._file)
            if content != self._content:
                self._found = _digests(parse_keys(content))
                self._content = content
                _log.info("the file of API keys has changed: %d keys", len(self._found))
        except BrokenKeysError as error:
            self._complain(str(error))
        else:
            self._settle()

    async def watching(self, _: web.Application) -> AsyncIterator[None]:
        """Look at the file for as long as the application lives; for `cleanup_ctx`."""
        if self._file is None:
            yield
            return
        watch = asyncio.create_task(self._watch(), name="watch keys")
        yield
        watch.cancel()
        await asyncio.gather(watch, return_exceptions=True)

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(self._look_every_s)
            await self.look()

    def _settle(self) -> None:
        if self.complaint is not None:
            _log.info("the file of API keys is good again")
        self.complaint = None

    def _complain(self, error: str) -> None:
        complaint = f"the file of API keys can't be used, the last good keys hold: {error}"
        if complaint != self.complaint:
            _log.warning("%s", complaint)
        self.complaint = complaint


def usable_key(api_key: str | None) -> str | None:
    """Return the key to compare with, None where none is configured.

    An empty or blank value is no key: a variable that is set but empty must not become a password
    that everybody knows. Blanks around it can't be sent in a header, so they don't count.
    """
    return (api_key or "").strip() or None


def parse_keys(content: bytes) -> list[tuple[str, str]]:
    """Return names and keys of a file: one `name: key` or `name=key` a line, `#` before comments.

    Raises:
        BrokenKeysError: a line is neither, a key stands twice, or there is none at all.
    """
    try:
        lines = content.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise BrokenKeysError("it isn't UTF-8") from None
    found: list[tuple[str, str]] = []
    for number, line in enumerate(map(str.strip, lines), 1):
        if not line or line.startswith("#"):
            continue
        name, *rest = _SEPARATOR.split(line, maxsplit=1)
        if not _NAME.match(name) or not rest or not rest[0]:
            raise BrokenKeysError(f"line {number} isn't `name: key`")
        if rest[0] in (key for _, key in found):
            raise BrokenKeysError(f"line {number} has a key that stands above already")
        found.append((name, rest[0]))
    if not found:
        raise BrokenKeysError("no key is in it")
    return found


def _digests(keys: Iterable[tuple[str, str]]) -> tuple[tuple[str, bytes], ...]:
    """Return names and digests; from here on no log line shows these keys."""
    digests = []
    for name, key in keys:
        register_secret(key)
        digests.append((name, sha256(key.encode()).digest()))
    return tuple(digests)


def _read(file: Path) -> bytes:
    try:
        with file.open("rb") as opened:
            content = opened.read(_MAX_FILE_BYTES + 1)
    except OSError as error:
        raise BrokenKeysError(f"it can't be read ({error.strerror})") from None
    if len(content) > _MAX_FILE_BYTES:
        raise BrokenKeysError(f"it has more than {_MAX_FILE_BYTES} bytes")
    return content
