"""The examples of the API's document: what is sent, and every field that comes back.

A value stands for itself, a type or several for any value of that kind.
"""

from collections.abc import Mapping
from typing import Any

WORKER_INFO: Mapping[str, Any] = {
    "worker_type": "pure_inference_engine",
    "model": "Qwen2.5-7B-Instruct",
    "capabilities": {
        "chat": True,
        "enhancement": True,
        "generation": True,
        "hardcoded_prompts": False,
        "prompt_modification": False,
        "pure_inference": True,
    },
    "architecture": {
        "template_override_risk": "eliminated",
        "separation_of_concerns": "complete",
        "edge_function_control": True,
    },
}

PROMPT = "beautiful landscape with mountains"
SYSTEM = {"role": "system", "content": "System prompt from edge function"}
USER = {"role": "user", "content": "User message"}
MESSAGES = {"messages": [SYSTEM, USER], "max_tokens": 512, "temperature": 0.7, "top_p": 0.9}
CHAT_MESSAGE = {
    "message": "Hello, how are you?",
    "system_prompt": "You are a helpful AI assistant for OurVidz platform users.",
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
}
DEBUG = {
    "message": "test message",
    "system_prompt": "You are a helpful assistant.",
    "conversation_history": [],
}
IMAGE = {
    "prompt": PROMPT,
    "model": "sdxl",
    "quality": "fast",
    "width": 1024,
    "height": 1024,
    "steps": 20,
    "seed": 42,
    "negative_prompt": "blurry, low quality",
}
VIDEO = {
    "prompt": "a cat walking through a garden",
    "duration": 5,
    "fps": 24,
    "quality": "fast",
    "width": 512,
    "height": 512,
}
MODEL_INFO = {"model_name": str, "model_loaded": True, "architecture": "pure_inference_engine"}

EXAMPLES: list[tuple[str, Mapping[str, Any], Mapping[str, Any]]] = [
    (
        "/chat",
        MESSAGES,
        {
            "success": True,
            "response": str,
            "messages_used": [SYSTEM, USER],
            "model_info": MODEL_INFO,
            "processing_time": float,
        },
    ),
    (
        "/enhance",
        {**MESSAGES, "max_tokens": 200},
        {"enhanced_prompt": str, "messages_used": [SYSTEM, USER], "processing_time": float},
    ),
    (
        "/generate",
        MESSAGES,
        {
            "response": str,
            "generated_text": str,
            "messages_used": [SYSTEM, USER],
            "processing_time": float,
        },
    ),
    (
        "/chat",
        CHAT_MESSAGE,
        {
            "response": str,
            "conversation_history": [
                {"sender": "user", "content": "Previous message"},
                {"sender": "assistant", "content": "Previous response"},
                {"sender": "user", "content": "Hello, how are you?"},
                {"sender": "assistant", "content": str},
            ],
            "system_prompt_used": CHAT_MESSAGE["system_prompt"],
            "model_info": MODEL_INFO,
            "processing_time": float,
        },
    ),
    (
        "/chat/debug/system-prompt",
        DEBUG,
        {
            "system_prompt_received": DEBUG["system_prompt"],
            "system_prompt_used": DEBUG["system_prompt"],
            "messages_built": [
                {"role": "system", "content": DEBUG["system_prompt"]},
                {"role": "user", "content": "test message"},
            ],
            "no_override_detected": True,
            "pure_inference_mode": True,
        },
    ),
    (
        "/generate_image",
        IMAGE,
        {
            "status": "success",
            "image_url": str,
            "metadata": {
                "model": "sdxl",
                "prompt": PROMPT,
                "seed": 42,
                "steps": 20,
                "generation_time": float,
            },
        },
    ),
    (
        "/generate_video",
        VIDEO,
        {
            "status": "success",
            "video_url": str,
            "thumbnail_url": str,
            "metadata": {"duration": 5, "fps": 24, "generation_time": float},
        },
    ),
]
"""Path, body, and what is answered."""

SEEN: list[tuple[str, Mapping[str, Any]]] = [
    (
        "/worker/info",
        {**WORKER_INFO, "model": str},
    ),
    (
        "/health",
        {
            "status": "healthy",
            "architecture": "pure_inference_engine",
            "worker_type": str,
            "gpu_utilization": (float, type(None)),
            "memory_usage": (float, type(None)),
            "active_jobs": int,
            "uptime": int,
            "model_loaded": bool,
            "system_prompt_features": {
                "pure_inference_engine": True,
                "no_prompt_overrides": True,
                "respects_provided_prompts": True,
                "template_override_risk": "eliminated",
            },
            "capabilities": {
                "hardcoded_prompts": False,
                "prompt_modification": False,
                "pure_inference": True,
            },
        },
    ),
    (
        "/status",
        {
            "worker_type": str,
            "status": "active",
            "architecture": "pure_inference_engine",
            "performance": {
                "jobs_completed": int,
                "jobs_failed": 0,
                "average_generation_time": (float, type(None)),
                "success_rate": (float, type(None)),
            },
            "resources": {
                "gpu_utilization": (float, type(None)),
                "memory_usage": (float, type(None)),
                "disk_usage": float,
            },
            "models": {"qwen_instruct": str, "architecture": "pure_inference_engine"},
            "security": {
                "template_override_risk": "eliminated",
                "hardcoded_prompts": False,
                "edge_function_control": True,
            },
        },
    ),
]
"""Path, and what is seen there."""


def assert_shows(answer: Any, shown: Any, path: str = "") -> None:
    """Every field of the document is there, with its value or of its type."""
    if isinstance(shown, Mapping):
        assert isinstance(answer, Mapping), path
        for name, each in shown.items():
            assert name in answer, f"{path}.{name} is missing of {sorted(answer)}"
            assert_shows(answer[name], each, f"{path}.{name}")
    elif isinstance(shown, list):
        assert len(answer) == len(shown), path
        for number, (one, each) in enumerate(zip(answer, shown, strict=True)):
            assert_shows(one, each, f"{path}[{number}]")
    elif isinstance(shown, type | tuple):
        # A whole number is a float in JSON as well.
        wanted = shown if shown is not float else float | int
        assert isinstance(answer, wanted), f"{path} is {answer!r}"
    else:
        assert answer == shown, path
