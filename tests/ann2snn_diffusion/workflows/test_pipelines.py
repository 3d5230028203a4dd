"""Results of every kind of pipeline: its parts stay, and the model card's snippet draws."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import (
    AutoencoderKL,
    DDIMPipeline,
    DDIMScheduler,
    DDPMPipeline,
    DDPMScheduler,
    DiffusionPipeline,
    EulerDiscreteScheduler,
    LDMPipeline,
    UNet2DModel,
    VQModel,
)

from ann2snn_diffusion import SpikingUNet2DModel, UNetPipeline
from ann2snn_diffusion.diffusion.sampling import Drawing, SamplingError, sample
from ann2snn_diffusion.evaluation.spec import EvaluationSpec
from ann2snn_diffusion.models.loading import load_converted, load_source
from ann2snn_diffusion.spiking.calibration_spec import CalibrationSpec
from ann2snn_diffusion.workflows.convert import ConversionError, convert_to_folder
from ann2snn_diffusion.workflows.evaluate import evaluate_to_folder
from ann2snn_diffusion.workflows.result_folder import Writing

QUICK = CalibrationSpec(energy=0, states=28, positions=64, sampler_steps=3)
PICTURES = Writing(samples=1, sample_steps=2)
TEN: dict[str, Any] = {"num_train_timesteps": 10, "beta_start": 0.01, "beta_end": 0.5}
BLOCKS: dict[str, Any] = {
    "block_out_channels": (4, 8), "norm_num_groups": 2, "latent_channels": 3,
    "down_block_types": ("DownEncoderBlock2D",) * 2, "up_block_types": ("UpDecoderBlock2D",) * 2,
}  # fmt: skip
Make = Callable[..., UNet2DModel]


def pipeline_of(kind: str, make_unet: Make) -> DiffusionPipeline:
    latent = make_unet(in_channels=3, out_channels=3)
    learned: Any = DDPMScheduler(**TEN, variance_type="learned_range")
    pipelines: dict[str, Callable[[], Any]] = {
        "DDPM": lambda: DDPMPipeline(make_unet(), DDPMScheduler(**TEN)),  # pyright: ignore[reportArgumentType]
        "DDIM": lambda: DDIMPipeline(make_unet(), DDIMScheduler(**TEN)),  # pyright: ignore[reportArgumentType]
        "Euler": lambda: DDPMPipeline(make_unet(), EulerDiscreteScheduler(**TEN)),  # pyright: ignore[reportArgumentType]
        "LDM": lambda: LDMPipeline(VQModel(**BLOCKS), latent, DDIMScheduler(**TEN, clip_sample=False)),
        "vae": lambda: UNetPipeline(latent, DDIMScheduler(**TEN, clip_sample=False), AutoencoderKL(**BLOCKS)),
        "labels": lambda: DDPMPipeline(make_unet(num_class_embeds=4), DDPMScheduler(**TEN)),  # pyright: ignore[reportArgumentType]
        "variance": lambda: DDPMPipeline(make_unet(out_channels=2), learned),
    }  # fmt: skip
    torch.manual_seed(0)
    return pipelines[kind]()


EXPECTED = {
    "DDPM": "DDPMPipeline", "DDIM": "DDIMPipeline", "Euler": "UNetPipeline", "LDM": "LDMPipeline",
    "vae": "UNetPipeline", "labels": "UNetPipeline", "variance": "UNetPipeline",
}  # fmt: skip


@pytest.mark.parametrize("kind", EXPECTED)
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # diffusers with NumPy 2
def test_the_model_card_s_snippet_draws_as_printed(
    make_unet: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    pipeline_of(kind, make_unet).save_pretrained(tmp_path / "ann")
    convert_to_folder(load_source(str(tmp_path / "ann")), tmp_path / "snn", calibration=QUICK, writing=PICTURES)
    assert json.loads((tmp_path / "snn" / "model_index.json").read_text())["_class_name"] == EXPECTED[kind]
    card = (tmp_path / "snn" / "README.md").read_text()
    found = re.search(r"```python\n(.*?)```", card, re.DOTALL)
    assert found is not None
    *lines, last = found[1].strip().splitlines()
    monkeypatch.chdir(tmp_path / "snn")
    names: dict[str, Any] = {}
    exec("\n".join([*lines, f"image = {last}"]), names)
    assert names["image"].size == ((16, 16) if kind in ("LDM", "vae") else (8, 8))


@pytest.mark.parametrize("kind", ["LDM", "vae"])
def test_a_latent_model_keeps_its_decoder_and_its_figures_are_of_images(
    make_unet: Make, tmp_path: Path, kind: str
) -> None:
    original: Any = pipeline_of(kind, make_unet)
    original.save_pretrained(tmp_path / "ann")
    source = load_source(str(tmp_path / "ann"))
    convert_to_folder(source, tmp_path / "snn", calibration=QUICK, writing=PICTURES)
    assert load_source(str(tmp_path / "ann" / "unet")).decoder is not None
    converted = load_converted(tmp_path / "snn")
    name, kept = ("vqvae", original.vqvae) if kind == "LDM" else ("vae", original.vae)
    assert converted.decoder is not None
    assert converted.decoder.name == name
    weights = converted.decoder.network.state_dict()
    assert all(torch.equal(weights[key], weight) for key, weight in kept.state_dict().items())
    found = evaluate_to_folder(converted, tmp_path / "evaluation", spec=EvaluationSpec(count=2, steps=2))
    assert found is not None
    assert found.drawn["SNN"].shape == (2, 3, 16, 16)
    assert converted.decoder.image_shape((8, 8)) == (3, (16, 16))
    with pytest.raises(ConversionError, match="draws latents"):
        convert_to_folder(source, tmp_path / "other", images=torch.zeros(1, 3, 8, 8))


def test_images_of_class_labels_are_drawn_in_turn(make_unet: Make) -> None:
    unet, scheduler = make_unet(num_class_embeds=4), DDIMScheduler(**TEN)
    both = sample(unet, scheduler, Drawing(4, 3, class_labels=(3, 1)))
    for index, label in enumerate((3, 1, 3, 1)):
        alone = sample(unet, scheduler, Drawing(1, 3, seed=index, class_labels=(label,)))
        torch.testing.assert_close(both[index : index + 1], alone, rtol=1e-4, atol=1e-5)
    parts = sample(unet, scheduler, Drawing(4, 3, batch_size=3, class_labels=(3, 1)))
    torch.testing.assert_close(parts, both, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("classes", "message"), [(4, "labels from 0 to 3"), (None, "knows no classes")])
def test_labels_that_the_network_has_not_are_refused(make_unet: Make, classes: int | None, message: str) -> None:
    with pytest.raises(SamplingError, match=message):
        sample(make_unet(num_class_embeds=classes), DDIMScheduler(), Drawing(1, 2, class_labels=(4,)))


def test_a_class_conditional_result_loads_in_a_pipeline_that_takes_labels(make_unet: Make, tmp_path: Path) -> None:
    pipeline_of("labels", make_unet).save_pretrained(tmp_path / "ann")
    convert_to_folder(load_source(str(tmp_path / "ann")), tmp_path / "snn", calibration=QUICK, writing=PICTURES)
    pipeline: Any = UNetPipeline.from_pretrained(tmp_path / "snn")
    assert isinstance(pipeline.unet, SpikingUNet2DModel)
    pictures = [pipeline(1, [label], torch.Generator().manual_seed(0), output_type="np").images for label in (0, 0, 1)]
    assert (pictures[0] == pictures[1]).all()
    assert (pictures[0] != pictures[2]).any()
