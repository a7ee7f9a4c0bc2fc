"""A language model on transformers, for a GPU or a CPU.

Each run draws its tokens with a generator of its own, so that runs in several threads neither
disturb one another nor their seeds. Only what the request says steers the drawing: defaults that
a model's files carry (top-k, repetition penalty) are left out.
"""

import threading
from typing import Any

from handlers import weights
from handlers.base import (
    GENERATION_FAILED,
    INVALID_PROMPT,
    Control,
    ModelSpec,
    RunError,
    Saving,
    TextAnswer,
)
from handlers.devices import device_of, dtype_of
from handlers.moving import Weights
from handlers.requests import Message, TextRequest
from handlers.templates import TemplateRefusedError, missing_content, neutral_template

_STEP = "generating_text"
_WARM_UP = TextRequest(
    messages=[Message("user", "Hello")], max_tokens=1, temperature=0, top_p=1, seed=0
)


class _Unheard:
    """Implements `Control` for a run that nobody watches."""

    def step(
        self, current_step: str, fraction: float, step: int | None = None, steps: int | None = None
    ) -> None:
        pass

    def tell(self, text: str) -> None:
        pass

    def show(self, picture: bytes) -> None:
        pass

    def check(self) -> None:
        pass


def load(spec: ModelSpec) -> "TransformersRunner":
    """Load tokenizer and weights from the model's folder."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = weights.find(spec)
    if folder is not None:
        weights.read_json(spec, folder / "config.json")
        weights.check_weights(spec, sorted(folder.glob("*.safetensors")))
    device = device_of(spec)
    tokenizer = AutoTokenizer.from_pretrained(spec.path)
    # Onto the device at once: weights larger than the host's memory must fit too.
    model = AutoModelForCausalLM.from_pretrained(
        spec.path, dtype=dtype_of(spec, "bfloat16"), use_safetensors=True, device_map=device
    )
    runner = TransformersRunner(spec, tokenizer, model.eval())
    # Kernels and weights come in with their first use: better now than in somebody's answer.
    runner.text(_WARM_UP, _Unheard())
    return runner


class TransformersRunner:
    """Implements `base.TextRunner`."""

    def __init__(self, spec: ModelSpec, tokenizer: Any, model: Any) -> None:
        self.name = spec.name
        self._spec = spec
        self._tokenizer = tokenizer
        self._model = model
        # Kept, since `model.device` says where its first parameter is at the moment.
        self._device = model.device
        keep = bool(spec.options.get("keep_host_copy"))
        self._weights = Weights([model], self._device, keep=keep)
        # The tokenizer's native part refuses to be used from two threads at once.
        self._tokenizing = threading.Lock()
        self._context = int(model.config.max_position_embeddings)
        self._ends = _end_tokens(tokenizer, model)
        self._template = self._neutral_template()
        _leave_out_defaults(model)

    def description(self) -> dict[str, str]:
        """Return what metadata says of the model."""
        return {"model": self._spec.model, "model_name": self.name}

    def serves(self) -> frozenset[str]:
        """Return the handlers of text."""
        return frozenset({"chat", "enhance", "generate"})

    def savings(self) -> Saving:
        """Text has no way to save memory."""
        return Saving.NONE

    def offloads(self) -> bool:
        """Say whether the weights may leave the device; without a GPU only where it is wanted."""
        wanted = self._device.type == "cuda" or bool(self._spec.options.get("offload"))
        return wanted and self._weights.movable

    def offload(self) -> int:
        """Move the weights to the host's memory."""
        self._weights.to_host()
        return self._weights.host_bytes

    def restore(self) -> None:
        """Move the weights to the device."""
        self._weights.to_device()

    def close(self) -> None:
        """Let the weights go with the process."""

    def prompt_of(self, conversation: list[dict[str, str]]) -> str:
        """Return the rendered prompt: exactly the given messages, in the model's marks."""
        try:
            rendered = self._render(self._template, conversation)
        except Exception as error:
            raise RunError(
                INVALID_PROMPT, f"the model's chat template refuses these messages: {error}"
            ) from error
        if (role := missing_content(rendered, conversation)) is not None:
            raise RunError(
                GENERATION_FAILED, f"the model's chat template drops or changes a {role} message"
            )
        return rendered

    def text(self, request: TextRequest, control: Control) -> TextAnswer:
        """Answer the messages; stops at the next token."""
        import torch

        control.step(_STEP, 0.0, 0, request.max_tokens)
        tokens = self._tokens_of(request)
        prompt_tokens = tokens.shape[1]
        most = min(request.max_tokens, self._context - prompt_tokens)
        with torch.inference_mode():
            sequence = self._model.generate(
                tokens,
                attention_mask=torch.ones_like(tokens),
                generation_config=self._configuration(most),
                logits_processor=[_drawing(request, self._device)],
                stopping_criteria=[_reporting(control, prompt_tokens, most)],
            )[0, prompt_tokens:].tolist()
        ended = bool(sequence) and sequence[-1] in self._ends
        with self._tokenizing:
            text = self._tokenizer.decode(sequence, skip_special_tokens=True)
        return TextAnswer(text, prompt_tokens, len(sequence), "stop" if ended else "length")

    def _tokens_of(self, request: TextRequest) -> Any:
        conversation = [
            {"role": message.role, "content": message.content} for message in request.messages
        ]
        prompt = self.prompt_of(conversation)
        with self._tokenizing:
            encoded = self._tokenizer(prompt, add_special_tokens=False, return_tensors="pt")
        tokens = encoded["input_ids"]
        if tokens.shape[1] >= self._context:
            raise RunError(
                INVALID_PROMPT,
                f"the messages are {tokens.shape[1]:,} tokens long, and the model's context of "
                f"{self._context:,} leaves no room for an answer",
            )
        return tokens.to(self._device)

    def _configuration(self, max_tokens: int) -> Any:
        from transformers import GenerationConfig

        # Not `do_sample`: the drawing is done by the processor, with the run's own generator.
        return GenerationConfig(
            do_sample=False,
            max_new_tokens=max_tokens,
            eos_token_id=sorted(self._ends),
            pad_token_id=min(self._ends),
        )

    def _render(self, template: str, conversation: Any) -> str:
        with self._tokenizing:
            rendered: str = self._tokenizer.apply_chat_template(
                conversation, chat_template=template, tokenize=False, add_generation_prompt=True
            )
        return rendered

    def _neutral_template(self) -> str:
        template = self._spec.options.get("chat_template") or self._tokenizer.chat_template
        if not isinstance(template, str):
            raise weights.refused(self._spec, "its tokenizer has no chat template")
        try:
            return neutral_template(template, self._render)
        except TemplateRefusedError as error:
            raise weights.refused(self._spec, str(error)) from error


def _end_tokens(tokenizer: Any, model: Any) -> frozenset[int]:
    configured = model.generation_config.eos_token_id
    listed = configured if isinstance(configured, list) else [configured]
    return frozenset(end for end in [*listed, tokenizer.eos_token_id] if end is not None)


def _leave_out_defaults(model: Any) -> None:
    from transformers import GenerationConfig

    model.generation_config = GenerationConfig(
        eos_token_id=model.generation_config.eos_token_id,
        bos_token_id=model.generation_config.bos_token_id,
        pad_token_id=model.generation_config.pad_token_id,
    )


def _drawing(request: TextRequest, device: Any) -> Any:
    """Return a logits processor that leaves one token to choose from: the drawn one."""
    import torch

    generator = torch.Generator(device).manual_seed(request.seed)

    def draw(_: Any, scores: Any) -> Any:
        if request.temperature == 0:
            return scores
        chances = torch.softmax(scores.float() / request.temperature, dim=-1)
        sorted_chances, order = chances.sort(dim=-1, descending=True)
        before = sorted_chances.cumsum(dim=-1) - sorted_chances
        sorted_chances[before >= request.top_p] = 0
        drawn = torch.multinomial(sorted_chances, 1, generator=generator)
        return torch.full_like(scores, float("-inf")).scatter(-1, order.gather(-1, drawn), 0.0)

    return draw


def _reporting(control: Control, prompt_tokens: int, most: int) -> Any:
    """Return a stopping criterion that reports each token, and raises when the run shall stop."""
    import torch

    def report(tokens: Any, _: Any, **__: Any) -> Any:
        made = tokens.shape[1] - prompt_tokens
        control.step(_STEP, made / most, made, most)
        return torch.zeros(tokens.shape[0], dtype=torch.bool, device=tokens.device)

    return report
