"""A language model on transformers, for a GPU or a CPU.

Each run draws its tokens with a generator of its own, so that runs in several threads neither
disturb one another nor their seeds. Only what the request says steers the drawing: defaults that
a model's files carry (top-k, repetition penalty) are left out.
"""

from typing import Any

from handlers import weights
from handlers.base import Control, ModelSpec, Saving, TextAnswer
from handlers.devices import device_of, dtype_of
from handlers.moving import Weights
from handlers.options import check_options
from handlers.prompting import STEP, Prompt, Prompting, tokenizer_of
from handlers.requests import TextRequest
from handlers.speech import Speech
from handlers.text_options import TransformersOptions
from handlers.warm_up import WARM_UP, Unheard


def load(spec: ModelSpec) -> "TransformersRunner":
    """Load tokenizer and weights from the model's folder."""
    from transformers import AutoModelForCausalLM

    if problems := check_options(spec.runner, spec.options):
        raise weights.refused(spec, f"options.{'; options.'.join(problems)}")
    options = TransformersOptions.of(spec)
    folder = weights.find(spec)
    if folder is not None:
        weights.read_json(spec, folder / "config.json")
        weights.check_weights(spec, sorted(folder.glob("*.safetensors")))
    prompting = Prompting(spec, tokenizer_of(spec, spec.path), options.chat_template)
    # Onto the device at once: weights larger than the host's memory must fit too.
    model = AutoModelForCausalLM.from_pretrained(
        spec.path,
        dtype=dtype_of(spec, "bfloat16"),
        use_safetensors=True,
        device_map=device_of(spec),
        attn_implementation=options.attention,
    )
    runner = TransformersRunner(spec, options, prompting, model.eval())
    # Kernels and weights come in with their first use: better now than in somebody's answer.
    runner.text(WARM_UP, Unheard())
    return runner


class TransformersRunner:
    """Implements `base.TextRunner`."""

    def __init__(
        self, spec: ModelSpec, options: TransformersOptions, prompting: Prompting, model: Any
    ) -> None:
        self.name = spec.name
        self._spec = spec
        self._model = model
        # Kept, since `model.device` says where its first parameter is at the moment.
        self._device = model.device
        self._weights = Weights([model], self._device, keep=options.keep_host_copy)
        self._offloads = self._device.type == "cuda" or options.offload
        self._prompting = prompting
        prompting.context = int(model.config.max_position_embeddings)
        self._ends = prompting.ends(model.generation_config.eos_token_id)
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
        return self._offloads and self._weights.movable

    def offload(self) -> int:
        """Move the weights to the host's memory."""
        self._weights.to_host()
        return self._weights.host_bytes

    def restore(self) -> None:
        """Move the weights to the device."""
        self._weights.to_device()

    def close(self) -> None:
        """Let the weights go with the process."""

    def text(self, request: TextRequest, control: Control) -> TextAnswer:
        """Answer the messages; stops at the next token."""
        import torch

        control.step(STEP, 0.0, 0, request.max_tokens)
        prompt = self._prompting.prompt_of(request)
        tokens = torch.tensor([prompt.tokens], device=self._device)
        telling = _Telling(control, Speech(request.stop), self._prompting, prompt, self._ends)
        with torch.inference_mode():
            sequence = self._model.generate(
                tokens,
                attention_mask=torch.ones_like(tokens),
                generation_config=self._configuration(prompt.most),
                logits_processor=[_drawing(request, self._device)],
                stopping_criteria=[telling],
            )[0, len(prompt.tokens) :].tolist()
        ended = telling.speech.stopped or (bool(sequence) and sequence[-1] in self._ends)
        return TextAnswer(
            telling.speech.text,
            len(prompt.tokens),
            len(sequence),
            "stop" if ended else "length",
            prompt.messages,
            prompt.respected,
        )

    def _configuration(self, max_tokens: int) -> Any:
        from transformers import GenerationConfig

        # Not `do_sample`: the drawing is done by the processor, with the run's own generator.
        return GenerationConfig(
            do_sample=False,
            max_new_tokens=max_tokens,
            eos_token_id=sorted(self._ends),
            pad_token_id=min(self._ends),
        )


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


class _Telling:
    """A stopping criterion that tells each token, and raises when the run shall stop."""

    def __init__(
        self,
        control: Control,
        speech: Speech,
        prompting: Prompting,
        prompt: Prompt,
        ends: frozenset[int],
    ) -> None:
        self.speech = speech
        self._control = control
        self._speaking = prompting.speaking()
        self._before, self._most = len(prompt.tokens), prompt.most
        self._ends = ends

    def __call__(self, tokens: Any, _: Any, **__: Any) -> Any:
        """Return whether the answer has come to a stop string."""
        import torch

        made = tokens.shape[1] - self._before
        newest = int(tokens[0, -1])
        said = self.speech.add(self._speaking.piece(newest))
        if made == self._most or newest in self._ends:
            said += self.speech.rest()
        self._control.tell(said)
        self._control.step(STEP, made / self._most, made, self._most)
        return torch.full(
            (tokens.shape[0],), self.speech.stopped, dtype=torch.bool, device=tokens.device
        )
