"""A language model on vLLM, whose runs compute their tokens together.

vLLM computes in processes of its own, started by this one and members of its group. It gets tokens
and gives text: what the prompt is decides `prompting`, as it does for transformers. Its KV cache
takes what the model's budget leaves at the load (`vllm_memory`), so that runs take nothing more.
"""

from contextlib import closing
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from handlers import failures, weights
from handlers.base import Control, ModelSpec, Saving, TextAnswer
from handlers.devices import device_of, dtype_of
from handlers.failures import CoreLostError
from handlers.options import check_options
from handlers.prompting import STEP, Prompt, Prompting, tokenizer_of
from handlers.requests import TextRequest
from handlers.text_options import VllmOptions
from handlers.vllm_core import Core, Piece
from handlers.vllm_memory import kv_cache_bytes, weights_bytes
from handlers.vllm_surroundings import Surroundings
from handlers.warm_up import WARM_UP, Unheard

_WEIGHTS = "*.safetensors"
_HUB_FILES = (_WEIGHTS, "*.json", "*.jinja", "*.txt", "*.model")


def load(spec: ModelSpec) -> "VllmRunner":
    """Start vLLM on the model's folder; it takes half a minute."""
    if find_spec("vllm") is None:
        raise weights.refused(spec, "vLLM isn't installed; the runner transformers needs none")
    if problems := check_options(spec.runner, spec.options):
        raise weights.refused(spec, f"options.{'; options.'.join(problems)}")
    options = VllmOptions.of(spec)
    folder = _folder_of(spec)
    configuration = weights.read_json(spec, folder / "config.json")
    files = sorted(folder.glob(_WEIGHTS))
    if not files:
        raise weights.refused(spec, "it has no safetensors files, and others can run code")
    weights.check_weights(spec, files)
    # Before vLLM is started: a model that is refused needn't wait half a minute for it.
    loaded_bytes = weights_bytes(files, dtype_of(spec, "bfloat16").itemsize)
    cache_bytes = kv_cache_bytes(spec, options, device_of(spec), loaded_bytes)
    prompting = Prompting(spec, tokenizer_of(spec, folder), options.chat_template)
    ends = prompting.ends(_configured_ends(spec, folder, configuration))
    surroundings = Surroundings()
    arguments = _arguments(spec, options, folder, cache_bytes)
    try:
        core = Core(lambda: _started(arguments))
    except Exception as error:
        surroundings.remove_names()
        raise _load_failure(surroundings, error) from error
    prompting.context = core.context
    runner = VllmRunner(spec, options, prompting, ends, core, surroundings)
    # Kernels and caches come in with their first use: better now than in somebody's answer.
    runner.text(WARM_UP, Unheard())
    surroundings.remove_names()
    return runner


class VllmRunner:
    """Implements `base.TextRunner`."""

    def __init__(
        self,
        spec: ModelSpec,
        options: VllmOptions,
        prompting: Prompting,
        ends: frozenset[int],
        core: Core,
        surroundings: Surroundings,
    ) -> None:
        self.name = spec.name
        self._spec = spec
        self._offloads = _may_sleep(spec) if options.offload is None else options.offload
        self._prompting = prompting
        self._ends = ends
        self._core = core
        self._surroundings = surroundings

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
        return self._offloads

    def offload(self) -> int:
        """Let vLLM sleep: the weights go to the host's memory, the KV cache is given back."""
        return self._core.sleep()

    def restore(self) -> None:
        """Wake vLLM up."""
        self._core.wake()

    def close(self) -> None:
        """End vLLM's processes."""
        self._core.close()

    def text(self, request: TextRequest, control: Control) -> TextAnswer:
        """Answer the messages; stops at the next token, or while it waits for one."""
        from vllm.inputs.engine import tokens_input

        control.step(STEP, 0.0, 0, request.max_tokens)
        prompt = self._prompting.prompt_of(request)
        said, made, reason = "", 0, None
        sampling = self._sampling(request, prompt)
        try:
            answer = self._core.answer(tokens_input(prompt.tokens), sampling, control)
            with closing(answer) as pieces:
                for piece in pieces:
                    said, made, reason = _after(said, made, piece)
                    control.tell(piece.text)
                    control.step(STEP, made / prompt.most, made, prompt.most)
        except CoreLostError as error:
            raise self._lost(error) from error
        if reason not in {"stop", "length"}:
            raise RuntimeError(f"vLLM ended the answer with {reason!r}")
        return TextAnswer(said, len(prompt.tokens), made, reason, prompt.messages, prompt.respected)

    def _sampling(self, request: TextRequest, prompt: Prompt) -> Any:
        """Return what steers the drawing: what the request says, and nothing else."""
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        return SamplingParams(
            max_tokens=prompt.most,
            temperature=request.temperature,
            top_p=request.top_p,
            seed=request.seed,
            stop=list(request.stop),
            stop_token_ids=sorted(self._ends),
            output_kind=RequestOutputKind.DELTA,
            watermarking=False,
        )

    def _lost(self, error: CoreLostError) -> Exception:
        """Return the error with what vLLM's processes have logged of their end."""
        cause = self._surroundings.cause()
        if cause is None:
            return error
        lost = CoreLostError(f"{error}: {cause}")
        lost.__cause__ = RuntimeError(cause)
        return lost


def _after(said: str, made: int, piece: Piece) -> tuple[str, int, str | None]:
    return said + piece.text, made + piece.tokens, piece.finish_reason


def _started(arguments: Any) -> Any:
    from vllm.v1.engine.async_llm import AsyncLLM

    return AsyncLLM.from_engine_args(arguments)


def _arguments(spec: ModelSpec, options: VllmOptions, folder: Path, cache_bytes: int | None) -> Any:
    """Return vLLM's arguments; what isn't said here is its default."""
    from vllm.engine.arg_utils import AsyncEngineArgs

    device, dtype = device_of(spec), dtype_of(spec, "bfloat16")
    eager = device == "cpu" if options.enforce_eager is None else options.enforce_eager
    share = options.gpu_memory_utilization
    return AsyncEngineArgs(
        model=str(folder),
        dtype=str(dtype).removeprefix("torch."),
        load_format="safetensors",
        # -1: the model's own, or less if the KV cache is too small for it.
        max_model_len=options.max_model_len or -1,
        max_num_seqs=options.max_num_seqs or spec.max_concurrent,
        max_num_batched_tokens=options.max_num_batched_tokens,
        kv_cache_memory_bytes=cache_bytes,
        **({} if share is None else {"gpu_memory_utilization": share}),
        kv_cache_dtype=options.kv_cache_dtype,
        quantization=options.quantization,
        enable_prefix_caching=options.enable_prefix_caching,
        enforce_eager=eager,
        **({"distributed_executor_backend": _executor()} if device == "cpu" else {}),
        # The defaults of the model's files would steer the drawing.
        generation_config="vllm",
        enable_sleep_mode=_may_sleep(spec) and options.offload is not False,
        worker_extension_cls="handlers.vllm_worker.HostBytes",
        disable_log_stats=True,
    )


def _executor() -> Any:
    """Return what computes inside EngineCore's own process, as is vLLM's default on a GPU.

    On a CPU its default is a process more, for which EngineCore waits by spinning, on the very
    cores that compute: with two of them it cost a tenth of the tokens a second. The reason for
    that default, threads that are bound to cores, isn't ours. By its class, since vLLM doesn't take
    the name there.
    """
    from vllm.v1.executor.uniproc_executor import UniProcExecutor

    return UniProcExecutor


def _may_sleep(spec: ModelSpec) -> bool:
    return device_of(spec) == "cuda"


def _folder_of(spec: ModelSpec) -> Path:
    """Return the folder with the model's files; a hub's name is looked up, or fetched."""
    path = weights.find(spec)
    if path is None:
        from huggingface_hub import snapshot_download

        return Path(snapshot_download(spec.path, allow_patterns=list(_HUB_FILES)))
    if not path.is_dir():
        raise weights.refused(spec, "it is no folder")
    return path


def _configured_ends(spec: ModelSpec, folder: Path, configuration: dict[str, Any]) -> Any:
    file = folder / "generation_config.json"
    generation = weights.read_json(spec, file) if file.exists() else {}
    return generation.get("eos_token_id", configuration.get("eos_token_id"))


def _load_failure(surroundings: Surroundings, error: Exception) -> Exception:
    """Return what vLLM's processes have logged, if that says more."""
    cause = surroundings.cause()
    return error if cause is None or failures.is_out_of_memory(error) else RuntimeError(cause)
