"""Files say where they come from, to whoever reads them with the usual programs."""

import io
import json
from typing import Any

import pytest

from handlers.base import ResultFile
from handlers.pictures import jpeg, mp4, png
from handlers.provenance import marked
from handlers.requests import ImageRequest, VideoRequest

pytestmark = pytest.mark.models
numpy = pytest.importorskip("numpy")
images = pytest.importorskip("PIL.Image")
av = pytest.importorskip("av")

JOB = "5bb7ae04-0000-4000-8000-000000000001"
PROMPT = "ein K\u00e4fer \U0001f41e, 40 % gr\u00fcn"
NOTES = {"model": "sdxl", "model_name": "SDXL Base", "scheduler": "euler"}
USUAL: dict[str, Any] = {
    "prompt": PROMPT, "negative_prompt": "blurry", "width": 64, "height": 32, "steps": 20,
    "guidance_scale": 5.0, "seed": 7, "quality": "fast", "job_id": JOB,
}  # fmt: skip
IMAGE = ImageRequest(**USUAL, num_images=2)
VIDEO = VideoRequest(**USUAL, frames=9, fps=8)
XMP = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"


class Unheard:
    def check(self) -> None:
        pass


def pixels(*shape: int) -> Any:
    return numpy.random.default_rng(1).integers(0, 256, shape, dtype=numpy.uint8)


def test_a_png_says_what_made_it_and_keeps_its_pixels() -> None:
    """In the words of Stable Diffusion's interfaces, as JSON, and as XMP."""
    drawn = pixels(32, 64, 3)
    file = ResultFile("image", "image/png", "png", png(drawn))

    with images.open(io.BytesIO(marked(file, IMAGE, NOTES, 8).data)) as image:
        image.load()
        texts = image.text
        assert (numpy.asarray(image) == drawn).all()
    assert texts["parameters"] == (
        f"{PROMPT}\nNegative prompt: blurry\n"
        "Steps: 20, Sampler: euler, CFG scale: 5, Seed: 8, Size: 64x32, Model: SDXL Base"
    )
    facts = json.loads(texts["Comment"])
    expected = {"job_id": JOB, "seed": 8, "prompt": PROMPT, "model": "sdxl", "steps": 20}
    assert expected.items() <= facts.items()
    assert texts["Description"] == PROMPT
    assert texts["Software"] == "ourvidz-worker"
    assert XMP in texts["XML:com.adobe.xmp"]


def test_a_jpeg_says_it_in_exif() -> None:
    """Description, comment and software, where viewers look for them; the pixels stay."""
    file = ResultFile("thumbnail", "image/jpeg", "jpg", jpeg(pixels(32, 64, 3)))

    with images.open(io.BytesIO(file.data)) as before:
        plain = numpy.asarray(before)
    with images.open(io.BytesIO(marked(file, VIDEO, NOTES, 7).data)) as image:
        exif = image.getexif()
        assert (numpy.asarray(image) == plain).all()
        assert XMP in image.info["xmp"].decode()
    assert exif[0x0131] == "ourvidz-worker"
    assert "fer" in exif[0x010E]
    comment = exif.get_ifd(0x8769)[0x9286]
    facts = json.loads(comment.removeprefix(b"ASCII\0\0\0"))
    assert (facts["job_id"], facts["frames"], facts["prompt"]) == (JOB, 9, PROMPT)


def test_a_prompt_too_long_for_exif_leaves_the_rest() -> None:
    """A JPEG's segments are short; the other facts are still there."""
    request = VideoRequest(**{**USUAL, "prompt": "\u4e16" * 12_000}, frames=9, fps=8)
    file = ResultFile("thumbnail", "image/jpeg", "jpg", jpeg(pixels(32, 64, 3)))

    with images.open(io.BytesIO(marked(file, request, NOTES, 7).data)) as image:
        comment = image.getexif().get_ifd(0x8769)[0x9286]
    facts = json.loads(comment.removeprefix(b"ASCII\0\0\0"))
    assert (facts["job_id"], facts["prompt"]) == (JOB, None)


def test_a_film_says_it_and_still_starts_before_it_is_loaded() -> None:
    """Every frame is the same, and the index is in front."""
    made = mp4(pixels(9, 64, 64, 3), 8, Unheard())
    file = ResultFile("video", "video/mp4", "mp4", made)

    film = marked(file, VIDEO, NOTES, 7).data

    assert film.index(b"moov") < film.index(b"mdat")
    with av.open(io.BytesIO(film)) as container, av.open(io.BytesIO(made)) as plain:
        facts = json.loads(container.metadata["comment"])
        assert container.metadata["description"] == PROMPT
        stream = container.streams.video[0]
        assert (stream.average_rate, stream.duration) == (
            plain.streams.video[0].average_rate,
            plain.streams.video[0].duration,
        )
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
        before = [frame.to_ndarray(format="rgb24") for frame in plain.decode(video=0)]
    assert (facts["job_id"], facts["fps"], facts["seed"]) == (JOB, 8, 7)
    assert len(frames) == 9
    assert all((a == b).all() for a, b in zip(frames, before, strict=True))


def test_the_same_job_gives_the_same_bytes() -> None:
    """Nothing in a file depends on when it was made."""
    file = ResultFile("video", "video/mp4", "mp4", mp4(pixels(9, 64, 64, 3), 8, Unheard()))

    assert marked(file, VIDEO, NOTES, 7) == marked(file, VIDEO, NOTES, 7)


@pytest.mark.parametrize(
    ("request_", "file"),
    [
        (ImageRequest(**{**USUAL, "job_id": ""}, num_images=1), png(pixels(8, 8, 3))),
        (IMAGE, b"no film at all"),
    ],
)
def test_what_names_no_job_or_is_no_film_goes_as_it_is(request_: Any, file: bytes) -> None:
    """Switched off; or what the texts can't be put into, which must not cost the result."""
    kind = "image/png" if file[:4] == b"\x89PNG" else "video/mp4"
    made = ResultFile("image", kind, "x", file)

    assert marked(made, request_, NOTES, 7) == made
