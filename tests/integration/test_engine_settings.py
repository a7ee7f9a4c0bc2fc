"""From settings to engines: what is told to load, and what is refused at start."""

import pytest

from daemon.engines.factory import engine_factory, model_spec
from daemon.engines.inline import InlineEngine
from daemon.engines.limits import EngineLimits, HealthLimits
from daemon.engines.process import EngineProcess
from daemon.job_types import Model
from daemon.sections import ModelSettings
from daemon.settings import Settings, SettingsError, load_settings


def settings_of(**chosen: object) -> ModelSettings:
    return ModelSettings.model_validate(
        {
            "path": "/models/chat/",
            "runner": "fake",
            "budget_gb": 4,
            "weights_gb": 3,
            "max_concurrent": 8,
            "footprint_gb": {"fast": 4},
            "concurrency": {"fast": 8},
            **chosen,
        }
    )


def test_the_name_is_the_last_part_of_the_path_unless_given() -> None:
    """What `model_info` shows."""
    assert model_spec(Model.CHAT, settings_of()).name == "chat"
    assert model_spec(Model.CHAT, settings_of(name="Qwen")).name == "Qwen"
    assert model_spec(Model.CHAT, settings_of(path="Qwen/Qwen2.5")).name == "Qwen2.5"


async def test_only_a_fake_may_run_inside_the_daemon() -> None:
    """Real models always get a process that can be killed."""
    inline = {"inline": True}
    settings = Settings(
        models={
            Model.CHAT: settings_of(options=inline),
            Model.SDXL: settings_of(options=inline, runner="diffusers"),
        }
    )
    make = engine_factory(settings)

    assert isinstance(make("chat", 0), InlineEngine)
    assert isinstance(make("sdxl", 0), EngineProcess)


async def test_limits_come_from_the_options() -> None:
    """Each model's own; what isn't set has the documented default."""
    chosen = {"load_timeout_s": 5, "hang_floor_s": 6, "hang_factor": 7, "ping_within_s": 8}
    settings = Settings(models={Model.CHAT: settings_of(options=chosen)})

    engine = engine_factory(settings)("chat", 0)

    assert isinstance(engine, EngineProcess)
    assert engine._limits == EngineLimits(5, 60, HealthLimits(6, 7, 10, 8))


@pytest.mark.parametrize(
    ("option", "value"),
    [("cancel_timeout_s", -1), ("hang_floor_s", 0), ("hang_factor", 0.5), ("ping_every_s", 0)],
)
def test_a_wrong_option_is_refused_at_start_by_its_path(option: str, value: float) -> None:
    """Not when the first job comes."""
    with pytest.raises(SettingsError, match=rf"models\.chat\.options\.{option}"):
        load_settings(overrides={"models": {"chat": {"options": {option: value}}}})


def test_the_process_keeps_its_options_from_the_runner() -> None:
    """A runner refuses what it doesn't know."""
    options = {"load_timeout_s": 5, "scheduler": "euler"}

    spec = model_spec(Model.SDXL, settings_of(options=options, runner="diffusers"))

    assert spec.options == {"scheduler": "euler"}
