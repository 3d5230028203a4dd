from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from diffusers import DDPMScheduler, UNet2DModel

from ann2snn_diffusion.diffusion.noisy_states import NoisyStates
from ann2snn_diffusion.spiking.spec import SpikeSpec
from ann2snn_diffusion.spiking.unet import SpikingUNet2DModel
from ann2snn_diffusion.training.cuda_graph import CudaGraphError, Replayed, recordable
from ann2snn_diffusion.training.learner import prepared
from ann2snn_diffusion.training.loop import Lesson, train
from ann2snn_diffusion.training.run import TrainingRun
from ann2snn_diffusion.training.spec import TrainingSpec
from tests.ann2snn_diffusion.training.short_trainings import SHORT, pictures

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="a CUDA graph needs a GPU")


def on_gpu(snn: SpikingUNet2DModel, **changes: Any) -> dict[str, torch.Tensor]:
    """What a training of a few steps leaves."""
    settings: dict[str, Any] = SHORT | {"steps": 6} | changes
    spec = TrainingSpec(**settings)
    images = pictures() if spec.denoise else None
    accelerator = Accelerator(mixed_precision=spec.mixed_precision)
    ann = snn.ann()
    torch.nn.Module.to(ann, accelerator.device)
    train(snn, Lesson(ann, DDPMScheduler(), images), spec, TrainingRun(accelerator))
    return {name: part.cpu() for name, part in snn.state_dict().items()}


@needs_gpu
@pytest.mark.parametrize(
    ("spiking", "changes"),
    [
        ({}, {}),
        ({}, {"mixed_precision": "bf16"}),
        ({"doubled": ("*",), "dead_zone": True}, {"energy": 0.3}),
        ({"coding": "rate", "schedule": "synchronous"}, {"blockwise": 1.0}),
        ({"coding": "rate", "schedule": "synchronous", "doubled": ("*",)}, {"firing_rate": 0.1}),
        ({"surrogate": "arctan"}, {"denoise": 1.0, "learn": "all"}),
    ],
)
def test_replayed_steps_are_those_that_python_takes(
    make_snn: Callable[..., SpikingUNet2DModel], spiking: dict[str, Any], changes: dict[str, Any]
) -> None:
    by_python, by_graph = (on_gpu(make_snn(**spiking), cuda_graph=graph, **changes) for graph in (False, True))
    start = make_snn(**spiking).state_dict()
    moved = [name for name, part in by_python.items() if not torch.equal(part, start[name])]
    assert len(moved) > len(start) / 4
    for name in moved:
        torch.testing.assert_close(by_graph[name] - start[name], by_python[name] - start[name], rtol=0.05, atol=2e-4)


@needs_gpu
def test_what_cannot_be_recorded_is_named() -> None:
    def waits(batch: Any) -> Any:
        return batch.states.sum().item()

    batch = NoisyStates(torch.ones(1, 1, 2, 2, device="cuda"), torch.zeros(1, device="cuda"), None)
    with pytest.raises(CudaGraphError, match=r"cannot be recorded as a CUDA graph \(.+\); use `cuda_graph` false"):
        Replayed(waits, [])(batch)


GPU = {"device": torch.device("cuda", 0), "num_processes": 1}


@pytest.mark.parametrize(
    ("changes", "place", "expected"),
    [
        ({}, {}, True),
        ({"mixed_precision": "bf16"}, {}, True),
        ({"cuda_graph": False}, {}, False),
        ({}, {"device": torch.device("cpu")}, False),
        ({}, {"num_processes": 2}, False),
        ({"gradient_accumulation_steps": 2}, {}, False),
        ({"mixed_precision": "fp16"}, {}, False),
        ({"gradient_checkpointing": True}, {}, False),
    ],
)
def test_a_graph_is_recorded_where_one_pass_is_a_step(
    unet: UNet2DModel, changes: dict[str, Any], place: dict[str, Any], expected: bool
) -> None:
    snn, spec = SpikingUNet2DModel.from_unet(unet, SpikeSpec()), TrainingSpec(**changes)
    learner = prepared(snn, DDPMScheduler(), TrainingSpec(), Accelerator(cpu=True))
    accelerator: Any = SimpleNamespace(unwrap_model=lambda network: network, **GPU | place)
    assert recordable(learner, spec, accelerator) is expected
    snn.guidance = {"segment.0": 1.1}
    assert not recordable(learner, spec, accelerator)
