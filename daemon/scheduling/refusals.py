"""Requests that can't be granted: what they are told. Pure."""

from daemon.jobs import ErrorCode
from daemon.scheduling.commands import Command, RefuseRequest
from daemon.scheduling.models import gib
from daemon.scheduling.state import State
from daemon.values import AdmissionRequest


class Refusals:
    """Refuses requests of one scheduler; refused ones no longer wait."""

    def __init__(self, state: State) -> None:
        self._state = state

    def at_once(self, request: AdmissionRequest, now: float) -> RefuseRequest | None:
        """Return why a request may not even wait.

        1. A model or quality that isn't served: MODEL_LOAD_FAILED.
        2. More memory than there is or may be used: VRAM_OVERFLOW.
        3. The model is in load back-off and nowhere present: the error of the failed load.
        4. Otherwise it may wait.
        """
        state, model, quality = self._state, request.model, request.quality
        if not state.serves(model, quality):  # 1
            message = f"model {model} in quality {quality} isn't served by this worker"
            return RefuseRequest(request.id, ErrorCode.MODEL_LOAD_FAILED, message)
        if not state.ever_fits(model, quality):  # 2
            return self._overflow(request)
        back_off = state.back_offs[model]
        if back_off.active(now) and not state.present(model):  # 3
            wait = back_off.until_s - now
            message = f"{back_off.message} (next try to load in {wait:.0f} s)"
            return RefuseRequest(request.id, back_off.error_code, message)
        return None  # 4

    def load_failed(
        self, model: str, error_code: ErrorCode, message: str, now: float
    ) -> list[Command]:
        """Begin a back-off; without another present placement nobody can be served: refuse all."""
        self._state.back_offs[model].failed(error_code, message, now)
        if self._state.present(model):
            return []
        return self._leave(
            [
                RefuseRequest(waiting.request.id, error_code, message, waiting.waits(now))
                for lane in self._state.lanes_by_model[model]
                for waiting in lane
            ]
        )

    def over_budget(self, model: str, weights_bytes: int, now: float) -> list[Command]:
        """Treat weights that are larger than the model's budget as a load that failed."""
        budget = self._state.models[model].budget_bytes
        message = f"weights of model {model} took {gib(weights_bytes)}, its budget is {gib(budget)}"
        return self.load_failed(model, ErrorCode.VRAM_OVERFLOW, message, now)

    def overflowing(self, model: str) -> list[Command]:
        """Refuse those who wait for the model and can't fit, as is known now."""
        return self._leave(
            [
                self._overflow(waiting.request)
                for lane in self._state.lanes_by_model[model]
                if lane.waiting and not self._state.ever_fits(*lane.key)
                for waiting in lane
            ]
        )

    def _leave(self, refusals: list[RefuseRequest]) -> list[Command]:
        for refusal in refusals:
            self._state.leave(refusal.request_id)
        return [*refusals]

    def _overflow(self, request: AdmissionRequest) -> RefuseRequest:
        state, model, quality = self._state, request.model, request.quality
        weights = state.estimates.weights(model)
        activation = state.estimates.activation(model, quality)
        largest = max((each.usable_bytes for each in state.ledgers.values()), default=0)
        message = (
            f"model {model} in quality {quality} needs {gib(weights)} of weights and "
            f"{gib(activation)} for the run; its budget is "
            f"{gib(state.models[model].budget_bytes)} and the largest device offers "
            f"{gib(largest)}"
        )
        return RefuseRequest(request.id, ErrorCode.VRAM_OVERFLOW, message)
