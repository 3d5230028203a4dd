"""Architectures and file layouts of public checkpoints, narrower, with random weights: docs/models.md."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DDPMScheduler, UNet2DModel

from ann2snn_diffusion.diffusion.noise_schedule import ScheduleError
from ann2snn_diffusion.evaluation.fidelity import FidelitySpec
from ann2snn_diffusion.models.loading import SourceError, load_converted, load_source
from ann2snn_diffusion.spiking.calibration_spec import CalibrationSpec
from ann2snn_diffusion.spiking.modes import analog
from ann2snn_diffusion.workflows.convert import convert, convert_to_folder
from ann2snn_diffusion.workflows.result_folder import Writing
from tests.conftest import build_unet

QUICK = CalibrationSpec(energy=0, states=28, positions=64, sampler_steps=3)
IMAGE: dict[str, Any] = {"in_channels": 3, "out_channels": 3, "sample_size": 32, "norm_eps": 1e-6}
GOOGLE = IMAGE | {
    "downsample_padding": 0, "flip_sin_to_cos": False, "freq_shift": 1, "attention_head_dim": None,
}  # fmt: skip


def blocks(kinds: str, head: str = "Attn") -> dict[str, Any]:
    """Block types, A with attention and D without, from the image down and up again."""
    return {
        "down_block_types": tuple(f"{head if kind == 'A' else ''}DownBlock2D" for kind in kinds),
        "up_block_types": tuple(f"{head if kind == 'A' else ''}UpBlock2D" for kind in reversed(kinds)),
    }


CIFAR10 = GOOGLE | {"block_out_channels": (8, 16, 16, 16), **blocks("DADD"), "layers_per_block": 2}
STRUCTURES = {
    "google/ddpm-cifar10-32": CIFAR10,
    "google/ddpm-celebahq-256": GOOGLE
    | {"block_out_channels": (8, 8, 16, 16, 16, 16), **blocks("DDDDAD"), "layers_per_block": 2},
    "anton-l/ddpm-butterflies-128": IMAGE
    | {"block_out_channels": (8, 8, 16, 16, 16, 16), **blocks("DDDDAD"), "layers_per_block": 2},
    "CompVis/ldm-celebahq-256": IMAGE
    | {"block_out_channels": (8, 16, 24, 32), **blocks("DAAA"), "attention_head_dim": 8, "layers_per_block": 2},
}
OLD = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}


@pytest.mark.slow
@pytest.mark.parametrize("name", STRUCTURES)
def test_structures_of_public_checkpoints_convert(name: str) -> None:
    ann, scheduler = build_unet(**STRUCTURES[name]), DDPMScheduler()
    conversion = convert(ann, scheduler, calibration=QUICK, fidelity=FidelitySpec(2, 3))
    assert conversion.report.epsilon_error < 0.5
    states, timesteps = torch.randn(2, 3, 32, 32), torch.tensor([3, 900])
    with analog(conversion.unet), torch.no_grad():
        assert torch.equal(conversion.unet(states, timesteps).sample, ann(states, timesteps).sample)


@pytest.mark.slow
def test_the_files_of_ddpm_cifar10_32_load_and_come_back(tmp_path: Path) -> None:
    """A pickled U-Net at the root, with attention keys of its time, beside a scheduler's config."""
    ann = build_unet(**CIFAR10)
    state = ann.state_dict()
    for today, before in OLD.items():
        state = {key.replace(today, before): weight for key, weight in state.items()}
    ann.save_config(tmp_path / "cifar")
    torch.save(state, tmp_path / "cifar" / "diffusion_pytorch_model.bin")
    DDPMScheduler(variance_type="fixed_large").save_pretrained(tmp_path / "cifar")
    (tmp_path / "cifar" / "model_index.json").write_text(json.dumps({"_class_name": "DDPMPipeline"}))
    source = load_source(str(tmp_path / "cifar"))
    convert_to_folder(source, tmp_path / "snn", calibration=QUICK, writing=Writing(samples=1, sample_steps=2))
    again = load_converted(tmp_path / "snn").unet
    assert all(torch.equal(again.ann_state_dict()[key], weight) for key, weight in ann.state_dict().items())
    assert again.config["attention_head_dim"] is None


@pytest.mark.parametrize(
    "kind",
    ["EDMEulerScheduler", "FlowMatchEulerDiscreteScheduler"],
)
def test_other_processes_than_ddpm_s_are_refused_by_name(unet: UNet2DModel, tmp_path: Path, kind: str) -> None:
    import diffusers

    scheduler = getattr(diffusers, kind)()
    with pytest.raises(ScheduleError, match=f"{kind}: expected a scheduler with a β schedule"):
        convert(unet, scheduler)
    scheduler.save_pretrained(tmp_path)
    unet.save_config(tmp_path)  # and no weights: they are not looked at
    with pytest.raises(SourceError, match=f"{kind}: expected a scheduler with a β schedule"):
        load_source(str(tmp_path))
