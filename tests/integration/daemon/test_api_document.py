"""The examples of the API's document, sent as they stand: every field comes back, of its kind.

With the fake runner all of them; with small real models the same requests of smaller pictures.
"""

from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from daemon_process import Daemon
from projects import Project

pytestmark = pytest.mark.asyncio(loop_scope="session")

StartDaemon = Callable[..., Daemon]
WITHIN_S = 300.0
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
ENTRY = {"sender": str, "content": str}
MESSAGE = {"role": str, "content": str}
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

SEEN: list[tuple[str, Mapping[str, Any]]] = [
    (
        "/worker/info",
        {
            "worker_type": "pure_inference_engine",
            "model": str,
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
        },
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


@pytest_asyncio.fixture(loop_scope="session")
async def serving(daemon: StartDaemon, direct: Project) -> AsyncIterator[httpx.AsyncClient]:
    async with (
        daemon(direct) as running,
        httpx.AsyncClient(base_url=running.url, timeout=WITHIN_S) as client,
    ):
        yield client


async def test_the_examples_as_they_stand(serving: httpx.AsyncClient) -> None:
    for path, body, shown in EXAMPLES:
        response = await serving.post(path, json=body)
        assert response.status_code == httpx.codes.OK, (path, response.text)
        assert_shows(response.json(), shown, path)
    for path, shown in SEEN:
        assert_shows((await serving.get(path)).json(), shown, path)
    performance = (await serving.get("/status")).json()["performance"]
    assert performance["jobs_completed"] == len(EXAMPLES)
    assert performance["success_rate"] == 100.0


async def test_the_test_of_the_document(serving: httpx.AsyncClient) -> None:
    """`test_chat_with_system_prompt` of the document, with its own words."""
    data = {
        "message": "test message",
        "system_prompt": "You are a helpful assistant.",
        "conversation_id": "test_123",
    }
    response = await serving.post("/chat", json=data)
    assert response.status_code == httpx.codes.OK
    assert "response" in response.json()
    assert response.json()["system_prompt_used"] == "You are a helpful assistant."


async def test_small_real_models_answer_the_same(
    daemon: StartDaemon,
    direct: Project,
    demo_models: dict[str, Path],
    plain_sdxl: Path,
    plain_wan: Path,
) -> None:
    paths = {
        "CHAT": ("transformers", demo_models["chat"]),
        "SDXL": ("diffusers", plain_sdxl),
        "VIDEO": ("diffusers", plain_wan),
    }
    environment = {
        f"OURVIDZ_MODELS__{model}__{name}": value
        for model, (runner, path) in paths.items()
        for name, value in {
            "RUNNER": runner,
            "PATH": str(path),
            "DEVICE": "cpu",
            "OPTIONS__OMP_THREADS": "2",
        }.items()
    }
    small: dict[str, Mapping[str, Any]] = {
        "/generate_image": {"width": 64, "height": 64},
        "/generate_video": {"width": 64, "height": 64, "steps": 1, "duration": 1, "fps": 8},
    }
    async with (
        daemon(direct, **environment) as running,
        httpx.AsyncClient(base_url=running.url, timeout=WITHIN_S) as client,
    ):
        for path, body, shown in EXAMPLES:
            response = await client.post(path, json={**body, **small.get(path, {"max_tokens": 8})})
            assert response.status_code == httpx.codes.OK, f"{path}: {response.text}"
            metadata = {"metadata": {"generation_time": float}} if path in small else {}
            assert_shows(response.json(), {**shown, **metadata}, path)
