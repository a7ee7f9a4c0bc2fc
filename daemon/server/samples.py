"""What OpenAPI shows of requests beside their schemas: examples, meanings and further bounds.

The examples are those of the API's document.
"""

from collections.abc import Mapping
from typing import Any

from daemon.server.requests import MOST_PROMPT_CHARS

_SYSTEM = "You are a helpful AI assistant for OurVidz platform users."

CHAT: Mapping[str, Any] = {
    "messages": {
        "messages": [
            {"role": "system", "content": "System prompt from edge function"},
            {"role": "user", "content": "User message"},
        ],
        "max_tokens": 512,
        "temperature": 0.7,
        "top_p": 0.9,
    },
    "message": {
        "message": "Hello, how are you?",
        "system_prompt": _SYSTEM,
        "conversation_id": "conv_123",
        "context_type": "roleplay",
        "conversation_history": [
            {
                "sender": "user",
                "content": "Previous message",
                "created_at": "2025-07-30T10:00:00Z",
            },
            {
                "sender": "assistant",
                "content": "Previous response",
                "created_at": "2025-07-30T10:00:01Z",
            },
        ],
        "project_id": "project_456",
    },
}

ENHANCE: Mapping[str, Any] = {
    "messages": {
        "messages": [
            {"role": "system", "content": "Enhancement system prompt from edge function"},
            {"role": "user", "content": "Original prompt to enhance"},
        ],
        "max_tokens": 200,
        "temperature": 0.7,
        "top_p": 0.9,
    }
}

GENERATE: Mapping[str, Any] = {
    "messages": {
        "messages": [
            {"role": "system", "content": "Any system prompt"},
            {"role": "user", "content": "Any user message"},
        ],
        "max_tokens": 512,
        "temperature": 0.7,
        "top_p": 0.9,
    }
}

DEBUG: Mapping[str, Any] = {
    "message": {
        "message": "test message",
        "system_prompt": "You are a helpful assistant.",
        "conversation_history": [],
    }
}

IMAGE: Mapping[str, Any] = {
    "picture": {
        "prompt": "beautiful landscape with mountains",
        "model": "sdxl",
        "quality": "fast",
        "width": 1024,
        "height": 1024,
        "steps": 20,
        "seed": 42,
        "negative_prompt": "blurry, low quality",
    }
}

VIDEO: Mapping[str, Any] = {
    "film": {
        "prompt": "a cat walking through a garden",
        "duration": 5,
        "fps": 24,
        "quality": "fast",
        "width": 512,
        "height": 512,
    }
}

COMPLETION: Mapping[str, Any] = {
    "messages": {"model": "chat", **GENERATE["messages"]},
}

IMAGES: Mapping[str, Any] = {
    "picture": {
        "model": "sdxl",
        "prompt": "beautiful landscape with mountains",
        "size": "1024x1024",
        "n": 1,
    }
}

MEANINGS: Mapping[str, str] = {
    "prompt": "What is asked for. Of pictures and films: at most 1,000 characters, and not blank.",
    "model": "Which model: `sdxl` or `wan`; under `/v1` any name that `/v1/models` lists.",
    "quality": "`high` takes more steps, time and memory.",
    "negative_prompt": "What shall not be seen; at most 1,000 characters.",
    "messages": "The conversation. It goes to the model exactly as it is.",
    "message": "What the user says now. Needs `system_prompt` beside it.",
    "system_prompt": "Goes before the message. An empty text means none; the worker adds none.",
    "conversation_history": "What was said before. A last entry equal to `message` counts once.",
    "sender": "Who said it.",
    "role": "Who said it.",
    "content": "What was said.",
    "type": "There are only texts.",
    "text": "What was said; several parts are joined.",
    "created_at": "Taken and not used.",
    "max_tokens": "Tokens that are written at most. By default 512; 200 of `/enhance`.",
    "max_completion_tokens": "The newer word for `max_tokens`.",
    "temperature": "0 picks the likeliest token always.",
    "top_p": "The smallest set of tokens with this probability together is drawn from.",
    "stop": "Texts before which the answer ends.",
    "n": "How many: one answer, or 1 to 6 pictures.",
    "size": "Width and height in pixels, such as `1024x1024`; by default the model's.",
    "width": "Pixels, a multiple of 8; of 16 with wan and for films.",
    "height": "Pixels, a multiple of 8; of 16 with wan and for films.",
    "num_images": "Pictures; the nth is drawn with `seed` + n.",
    "duration": "Seconds.",
    "fps": "Frames a second.",
    "steps": "By default 20, 40 with `high`; of films 25 and 50.",
    "guidance_scale": "How closely the prompt is followed.",
    "seed": "The same seed and parameters give the same result. Drawn at random if it is left out.",
    "stream": "Answer in pieces, as server-sent events.",
    "stream_options": "What a stream tells beside the answer.",
    "include_usage": "Tell the tokens in a last chunk.",
    "response_format": "`b64_json`: files come as data URLs in the answer; nothing is stored.",
    "user_id": "For whom it is made: files go to this user's folder, and users are served fairly.",
    "user": "The same, if it is one of the platform's user ids.",
    "conversation_id": "Taken and not used: the worker keeps no conversations.",
    "context_type": "Taken and not used: the caller chooses the system prompt.",
    "project_id": "Taken and not used.",
}
"""By the name of a field, which means the same wherever it stands; in the order of showing."""

_SAID = {"maxLength": MOST_PROMPT_CHARS, "minLength": 1, "pattern": r"\S"}
_UNSAID = {"maxLength": MOST_PROMPT_CHARS}

BOUNDS: Mapping[str, Mapping[str, Mapping[str, Any]]] = {
    "ImagesBody": {"prompt": _SAID, "negative_prompt": _UNSAID},
    "ImageBody": {
        "prompt": _SAID,
        "negative_prompt": _UNSAID,
        "width": {"multipleOf": 8},
        "height": {"multipleOf": 8},
    },
    "VideoBody": {
        "prompt": _SAID,
        "negative_prompt": _UNSAID,
        "width": {"multipleOf": 16},
        "height": {"multipleOf": 16},
    },
}
"""By model and field: what is checked after the schema, in words of JSON Schema."""
