"""Pixels to files: PNG, JPEG, MP4. The same pixels give the same bytes."""

import io
import tempfile
from pathlib import Path
from typing import Any

from handlers.base import Control

_JPEG_QUALITY = 90
_H264 = {"crf": "18", "x264-params": "mbtree=0"}
"""x264's constant rate factor: 18 is hard to tell from the original. Without its macroblock tree:
with it the same frames gave other bytes from one call to the next."""


def png(pixels: Any) -> bytes:
    """Return a picture of height, width and colour as PNG."""
    return _picture(pixels, "PNG")


def jpeg(pixels: Any) -> bytes:
    """Return a picture of height, width and colour as JPEG."""
    return _picture(pixels, "JPEG", quality=_JPEG_QUALITY)


def mp4(frames: Any, fps: int, control: Control) -> bytes:
    """Return frames as an H.264 film that plays everywhere and starts before it is loaded whole.

    Stops at the next frame.
    """
    import av

    with tempfile.TemporaryDirectory(prefix="film-") as folder:
        # A real file: moving the index to the front needs to read back what was written.
        path = Path(folder) / "film.mp4"
        with av.open(str(path), "w", options={"movflags": "+faststart"}) as container:
            stream = container.add_stream("libx264", rate=fps, options=_H264)
            stream.height, stream.width = frames.shape[1:3]
            stream.pix_fmt = "yuv420p"
            for pixels in frames:
                control.check()
                container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
            container.mux(stream.encode())
        return path.read_bytes()


def _picture(pixels: Any, kind: str, **options: Any) -> bytes:
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, **options)
    return file.getvalue()
