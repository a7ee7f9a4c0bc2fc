"""Texts put into finished files, whose pixels are left as they are."""

import io
import struct
import tempfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_PNG_HEAD = 8 + 25
"""Bytes of the signature and of the header chunk, which must come first."""

_JPEG_START = b"\xff\xd8"
_EXIF_IFD, _DESCRIPTION, _SOFTWARE, _COMMENT = 0x8769, 0x010E, 0x0131, 0x9286
_XMP_MARK = b"http://ns.adobe.com/xap/1.0/\0"
_LONGEST_DESCRIPTION = 4_000
"""Characters; a JPEG's segment ends at 65,533 bytes."""


def png(data: bytes, texts: Mapping[str, str]) -> bytes:
    """Return a PNG with texts in UTF-8 (iTXt chunks) before its pixels."""
    chunks = b"".join(
        # Keyword; not compressed, by no method, in no language, under no translated keyword.
        _chunk(b"iTXt", keyword.encode("latin-1") + bytes(5) + text.encode())
        for keyword, text in texts.items()
    )
    return data[:_PNG_HEAD] + chunks + data[_PNG_HEAD:]


def jpeg(data: bytes, description: str, software: str, comment: str, xmp: str) -> bytes:
    """Return a JPEG with EXIF and XMP; the comment is ASCII."""
    from PIL import Image

    exif = Image.Exif()
    exif[_DESCRIPTION] = description[:_LONGEST_DESCRIPTION]
    exif[_SOFTWARE] = software
    exif.get_ifd(_EXIF_IFD)[_COMMENT] = b"ASCII\0\0\0" + comment.encode("ascii")
    parts = exif.tobytes(), _XMP_MARK + xmp.encode()
    segments = b"".join(b"\xff\xe1" + struct.pack(">H", len(part) + 2) + part for part in parts)
    return _JPEG_START + segments + data.removeprefix(_JPEG_START)


def mp4(data: bytes, texts: Mapping[str, str]) -> bytes:
    """Return an MP4 with texts; its index stays in front."""
    import av

    with tempfile.TemporaryDirectory(prefix="film-") as folder:
        path = Path(folder) / "film.mp4"
        with (
            av.open(io.BytesIO(data)) as source,
            av.open(str(path), "w", options={"movflags": "+faststart"}) as target,
        ):
            target.metadata.update(texts)
            _copy(source, target)
        return path.read_bytes()


def _copy(source: Any, target: Any) -> None:
    streams = {stream.index: target.add_stream_from_template(stream) for stream in source.streams}
    for packet in source.demux():
        if packet.dts is None:
            continue  # the empty one that ends a stream
        packet.stream = streams[packet.stream.index]
        target.mux(packet)


def _chunk(kind: bytes, content: bytes) -> bytes:
    return (
        struct.pack(">I", len(content))
        + kind
        + content
        + struct.pack(">I", zlib.crc32(kind + content))
    )
