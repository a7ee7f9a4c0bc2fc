"""The JSON that each handler puts into a result, as frontends read it."""

from collections.abc import Mapping, Sequence
from typing import Any

from handlers.base import Saving, TextAnswer
from handlers.requests import ImageRequest, Message, TextRequest, VideoRequest

ARCHITECTURE = "pure_inference_engine"


def chat_result(
    request: TextRequest, answer: TextAnswer, model_name: str, seconds: float
) -> dict[str, Any]:
    """Return the union of the fields of both forms of `/chat`."""
    used = answer.messages or request.messages
    spoken = [message for message in used if message.role != "system"]
    spoken.append(Message("assistant", answer.text))
    return {
        "response": answer.text,
        **_text_fields(request, answer, model_name, seconds),
        "conversation_history": [
            {"sender": message.role, "content": message.content} for message in spoken
        ],
        "system_prompt_used": system_prompt_of(used),
    }


def enhance_result(
    request: TextRequest, answer: TextAnswer, model_name: str, seconds: float
) -> dict[str, Any]:
    """Return the fields of `/enhance`."""
    return {
        "enhanced_prompt": answer.text,
        **_text_fields(request, answer, model_name, seconds),
    }


def generate_result(
    request: TextRequest, answer: TextAnswer, model_name: str, seconds: float
) -> dict[str, Any]:
    """Return the fields of `/generate`."""
    return {
        "response": answer.text,
        "generated_text": answer.text,
        **_text_fields(request, answer, model_name, seconds),
    }


def image_result(
    request: ImageRequest, notes: Mapping[str, Any], seeds: list[int], seconds: float
) -> dict[str, Any]:
    """Return an image's metadata with the values that were really used.

    `notes` say of the model what its runner wants to be said.
    """
    return {
        "metadata": {
            **_picture_fields(request, notes, seconds),
            "num_images": request.num_images,
            "seeds": seeds,
        }
    }


def video_result(request: VideoRequest, notes: Mapping[str, Any], seconds: float) -> dict[str, Any]:
    """Return a film's metadata with the values that were really used; `duration` is seconds."""
    # The first frame is the picture that the film starts from: 5 s at 24 fps are 121 frames.
    duration = (request.frames - 1) / request.fps
    return {
        "metadata": {
            "duration": int(duration) if duration.is_integer() else round(duration, 3),
            "fps": request.fps,
            "frames": request.frames,
            **_picture_fields(request, notes, seconds),
        }
    }


def system_prompt_of(messages: Sequence[Message]) -> str:
    """Return the system messages' text; empty where there is none."""
    return "\n\n".join(message.content for message in messages if message.role == "system")


def _text_fields(
    request: TextRequest, answer: TextAnswer, model_name: str, seconds: float
) -> dict[str, Any]:
    return {
        "messages_used": [
            {"role": message.role, "content": message.content}
            for message in answer.messages or request.messages
        ],
        "no_override_detected": answer.respected,
        "model_info": {
            "model_name": model_name,
            "model_loaded": True,
            "architecture": ARCHITECTURE,
        },
        "processing_time": round(seconds, 3),
        "usage": {
            "prompt_tokens": answer.prompt_tokens,
            "completion_tokens": answer.completion_tokens,
            "total_tokens": answer.prompt_tokens + answer.completion_tokens,
        },
        "finish_reason": answer.finish_reason,
        "parameters": {
            "max_tokens": request.max_tokens,
            "temperature": request.temperature,
            "top_p": request.top_p,
            "seed": request.seed,
            **({"stop": request.stop} if request.stop else {}),
        },
    }


def _picture_fields(
    request: ImageRequest | VideoRequest, notes: Mapping[str, Any], seconds: float
) -> dict[str, Any]:
    saving = {"saving": Saving(request.saving).name.lower()} if request.saving else {}
    return {
        **notes,
        "prompt": request.prompt,
        "negative_prompt": request.negative_prompt,
        "seed": request.seed,
        "steps": request.steps,
        "width": request.width,
        "height": request.height,
        "guidance_scale": request.guidance_scale,
        "quality": request.quality,
        "generation_time": round(seconds, 3),
        **saving,
    }
