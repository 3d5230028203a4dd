import json
from pathlib import Path
from typing import Any

import pytest
from diffusers import DDPMPipeline, DDPMScheduler, UNet2DModel

from ann2snn_diffusion.models.loading import SourceError, load_converted, load_source


@pytest.fixture
def training_run(unet: UNet2DModel, tmp_path: Path) -> Path:
    """A pipeline of diffusers' train_unconditional.py, with a checkpoint in it."""
    run = tmp_path / "run"
    DDPMPipeline(unet, DDPMScheduler(beta_end=0.03)).save_pretrained(run)  # pyright: ignore[reportArgumentType]
    unet.save_pretrained(run / "checkpoint-700" / "unet_ema")
    return run


def beta_end(scheduler: Any) -> float:
    return scheduler.config.beta_end


def test_a_checkpoint_takes_the_scheduler_of_the_pipeline_that_it_lies_in_and_says_so(training_run: Path) -> None:
    source = load_source(str(training_run / "checkpoint-700" / "unet_ema"))
    assert beta_end(source.scheduler) == 0.03
    assert source.scheduler_of == "run"
    assert load_source(str(training_run)).scheduler_of == ""


def test_the_nearest_scheduler_counts(training_run: Path) -> None:
    DDPMScheduler(beta_end=0.04).save_pretrained(training_run / "checkpoint-700" / "scheduler")
    assert beta_end(load_source(str(training_run / "checkpoint-700" / "unet_ema")).scheduler) == 0.04


def test_without_any_scheduler_one_must_be_named(unet: UNet2DModel, training_run: Path, tmp_path: Path) -> None:
    unet.save_pretrained(tmp_path / "alone")
    with pytest.raises(SourceError, match=r"no scheduler_config\.json .* `scheduler`: .* or ddpm"):
        load_source(str(tmp_path / "alone"))
    assert beta_end(load_source(str(tmp_path / "alone"), scheduler="ddpm").scheduler) == 0.02
    named = load_source(str(tmp_path / "alone"), scheduler=str(training_run))
    assert (beta_end(named.scheduler), named.scheduler_of) == (0.03, "run")
    with pytest.raises(SourceError, match="alone: no scheduler/scheduler_config"):
        load_source(str(training_run), scheduler=str(tmp_path / "alone"))


def test_a_converted_model_without_a_scheduler_is_refused(unet: UNet2DModel, tmp_path: Path) -> None:
    from ann2snn_diffusion.spiking.spec import SpikeSpec
    from ann2snn_diffusion.spiking.unet import SpikingUNet2DModel

    SpikingUNet2DModel.from_unet(unet, SpikeSpec()).save_pretrained(tmp_path / "snn" / "unet")
    with pytest.raises(SourceError, match="save there the scheduler"):
        load_converted(tmp_path / "snn")


WRONG = {
    "a fake": ({"_class_name": "FlaxDDPMScheduler"}, "is no scheduler that diffusers has here"),
    "no scheduler": ({"_class_name": "UNet2DModel"}, "is no scheduler that diffusers has here"),
    "base class": ({"_class_name": "SchedulerMixin"}, "is no scheduler that diffusers has here"),
    "no class": ({"_class_name": None}, "is no scheduler that diffusers has here"),
    "no ᾱ": (
        {"_class_name": "FlowMatchEulerDiscreteScheduler"},
        "FlowMatchEulerDiscreteScheduler: expected a scheduler with a β schedule",
    ),
    "beta_schedule": ({"beta_schedule": "foo"}, "not a DDPMScheduler that works: foo"),
    "text for a number": (
        {"num_train_timesteps": "1000"},
        "num_train_timesteps = '1000': expected a value of type int",
    ),
    "true for a number": ({"beta_end": True}, "beta_end = True: expected a value of type float"),
    "one β": ({"trained_betas": 0.5}, r"trained_betas = 0\.5: expected a list of numbers"),
    "two β": ({"trained_betas": [0.5, 0.6]}, r"num_train_timesteps = 1000, but 2 β"),
    "β of 0": ({"beta_start": 0.0, "beta_end": 0.0}, "do not fall from below 1"),
    "β above 1": ({"beta_end": 2.0}, "do not fall from below 1"),
    "no timesteps": ({"num_train_timesteps": 0}, "works|fall"),
    "prediction_type": ({"prediction_type": "flow"}, "prediction_type = 'flow': expected one of epsilon"),
    "clipping to nothing": ({"clip_sample_range": -1.0}, r"clip_sample_range = -1\.0: expected a number above 0"),
    "spacing": ({"timestep_spacing": "wide"}, "wide"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_config_that_diffusers_takes_without_a_look_is_one_clear_line(training_run: Path, case: str) -> None:
    changes, message = WRONG[case]
    file = training_run / "scheduler" / "scheduler_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))
    with pytest.raises(SourceError, match=message) as refused:
        load_source(str(training_run))
    assert "\n" not in str(refused.value)


def test_images_that_old_configs_say_are_predicted_are(training_run: Path) -> None:
    file = training_run / "scheduler" / "scheduler_config.json"
    config = json.loads(file.read_text()) | {"predict_epsilon": False}
    del config["prediction_type"]
    file.write_text(json.dumps(config))
    scheduler: Any = load_source(str(training_run)).scheduler
    assert scheduler.config.prediction_type == "sample"


@pytest.mark.parametrize("kind", ["PNDM", "EulerDiscrete", "DPMSolverMultistep", "DDIM", "UniPCMultistep", "LCM"])
def test_schedulers_with_noise_levels_of_a_ddpm_load(training_run: Path, kind: str) -> None:
    import diffusers

    getattr(diffusers, f"{kind}Scheduler")().save_pretrained(training_run / "scheduler")
    assert type(load_source(str(training_run)).scheduler).__name__ == f"{kind}Scheduler"


@pytest.mark.parametrize("kind", ["ScoreSdeVeScheduler", "CMStochasticIterativeScheduler"])
@pytest.mark.parametrize(
    "changes",
    [{"sigma_min": 0.0}, {"sigma_min": 5.0, "sigma_max": 1.0}, {"sigma_max": 1e30}, {"num_train_timesteps": 0},
     {"sigma_min": -1.0}, {"sigma_data": 0.0, "sigma_max": 0.001}],
)  # fmt: skip
def test_sigmas_that_do_not_rise_from_above_0_are_refused(
    training_run: Path, kind: str, changes: dict[str, Any]
) -> None:
    (training_run / "scheduler" / "scheduler_config.json").write_text(json.dumps({"_class_name": kind} | changes))
    with pytest.raises(SourceError, match=r"its σ do not rise from above 0|not a \w+ that works") as refused:
        load_source(str(training_run))
    assert "\n" not in str(refused.value)
