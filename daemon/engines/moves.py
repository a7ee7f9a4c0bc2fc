"""Moves of a model's weights, with every error turned into a value that the pool can report."""

import structlog

from daemon.engine_ports import Engine
from daemon.jobs import ErrorCode, JobError
from daemon.values import EngineEnd, EngineLostError, Loaded, Loss, Offloaded

_log = structlog.get_logger(__name__)


async def offload(engine: Engine, model: str, device: int) -> Offloaded | EngineEnd:
    """Move the weights to the host's memory; an engine that can't is of no further use."""
    try:
        offloaded = await engine.offload()
    except JobError as error:
        return EngineEnd(Loss.STOPPED, f"the {model} engine can't offload: {error.message}")
    except EngineLostError:
        # The error says what the move met; how the engine ended is known when it is over.
        return await engine.ended()
    except Exception as error:  # noqa: BLE001 -- whatever it raises costs one engine, not the daemon
        _log.exception("offload failed unexpectedly", model=model, device=device)
        return EngineEnd(Loss.STOPPED, f"the {model} engine can't offload: {error!r}")
    _log.info(
        "model offloaded",
        model=model,
        device=device,
        left_bytes=offloaded.left_bytes,
        host_bytes=offloaded.host_bytes,
        seconds=round(offloaded.seconds, 3),
    )
    return offloaded


async def bring(
    engine: Engine, model: str, device: int, *, restoring: bool = False
) -> Loaded | JobError | EngineEnd:
    """Load a new engine, or move the weights of an offloaded one back.

    Returns what it holds now, why it says that it can't, or how it ended meanwhile.
    """
    _log.info("model loading", model=model, device=device, from_host=restoring)
    try:
        loaded = await (engine.restore() if restoring else engine.load())
    except JobError as error:
        return error
    except EngineLostError:
        # The error says what the move met; how the engine ended is known when it is over.
        return await engine.ended()
    except Exception as error:  # noqa: BLE001 -- whatever a start may raise costs one load, not the daemon
        _log.exception("model load failed unexpectedly", model=model, device=device)
        return JobError(ErrorCode.MODEL_LOAD_FAILED, f"load of {model}: {error!r}")
    _log.info(
        "model loaded",
        model=model,
        device=device,
        weights_bytes=loaded.weights_bytes,
        seconds=round(loaded.seconds, 3),
    )
    return loaded


def failure_of(ended: JobError | EngineEnd, model: str, device: int) -> JobError:
    """Return, and log, what those are told who wait for a model that didn't come."""
    if isinstance(ended, JobError):
        failure = ended
    else:
        message = f"the engine of {model} ended while loading: {ended.reason}"
        failure = JobError(ErrorCode.MODEL_LOAD_FAILED, message)
    _log.warning(
        "model load failed",
        model=model,
        device=device,
        error_code=failure.error_code,
        error=failure.message,
    )
    return failure
