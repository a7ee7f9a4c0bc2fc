"""Inference over HTTP: all its routes, from the settings."""

from collections.abc import Callable

from aiohttp import web

from daemon.exchanges import Answers
from daemon.job_types import Model
from daemon.server.asking import Inference
from daemon.server.desk import Desk
from daemon.server.idempotency import Idempotency, once_for_all
from daemon.server.openai_api import OpenAiRoutes
from daemon.server.pictures import PictureRoutes
from daemon.server.submissions import Submissions
from daemon.server.text import TextRoutes
from daemon.settings import Settings


def inference_routes(
    settings: Callable[[], Settings], answering: Callable[[], Answers | None], desk: Desk
) -> list[web.RouteDef]:
    """Return the routes.

    Args:
        settings: returns those in force: a reload may change which models are served.
        answering: returns who answers; None while the worker starts.
        desk: where rows are added.
    """
    server = settings().server
    inference = Inference(answering, lambda: settings().enabled_models)
    once = once_for_all(Idempotency())
    refuse_unknown = server.unknown_fields == "refuse"
    text = TextRoutes(
        inference,
        once,
        require_system_prompt=server.require_system_prompt,
        refuse_unknown=refuse_unknown,
    )
    pictures = PictureRoutes(inference, Submissions(desk), once, refuse_unknown=refuse_unknown)
    compatible = OpenAiRoutes(
        inference, once, lambda: _names(settings()), refuse_unknown=refuse_unknown
    )
    return [*text.routes(), *pictures.routes(), *compatible.routes()]


def _names(settings: Settings) -> dict[Model, str]:
    return {model: chosen.name or model.value for model, chosen in settings.enabled_models.items()}
