"""A step's passes as one CUDA graph: a GPU is given thousands of small operations at once, and waits for no Python.

The first batch's passes are recorded, and replayed for every later one on copies in the same memory
(https://docs.pytorch.org/docs/stable/notes/cuda.html#cuda-graphs). The operations are those that Python would launch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from accelerate import Accelerator
from diffusers import UNet2DModel
from torch import Tensor, nn

from ann2snn_diffusion.common.errors import A2SError, first_line
from ann2snn_diffusion.diffusion.noisy_states import NoisyStates
from ann2snn_diffusion.spiking.guidance import is_guided
from ann2snn_diffusion.training.gradients import Differentiate, Differentiated, differentiate
from ann2snn_diffusion.training.learner import Learner
from ann2snn_diffusion.training.spec import TrainingSpec

WARM_UP = 3
"""Passes before the recorded one, in which libraries allocate and choose what they do."""


class CudaGraphError(A2SError):
    """Passes that cannot be recorded."""


class Replayed:
    """``passes``, recorded at the first batch; all batches are of one shape.

    Args:
        passes: adds the gradients of a batch to those that ``parameters`` have.
        parameters: all that it differentiates by. Every call leaves the gradients of its batch alone there.
    """

    def __init__(self, passes: Differentiate, parameters: Sequence[nn.Parameter]) -> None:
        self.passes, self.parameters = passes, parameters
        self.graph: torch.cuda.CUDAGraph | None = None

    def __call__(self, batch: NoisyStates) -> Differentiated:
        """What ``passes`` finds, in memory that the next call overwrites.

        Raises:
            CudaGraphError: something in the passes waits for the GPU, or moves memory to it.
        """
        if self.graph is None:
            self._record(batch)
        for name, given in _tensors(batch).items():
            getattr(self.batch, name).copy_(given)
        assert self.graph is not None
        self.graph.replay()
        for parameter, gradient in zip(self.parameters, self.gradients, strict=True):
            parameter.grad = gradient
        return self.found

    def _record(self, batch: NoisyStates) -> None:
        self.batch = replace(batch, **{name: tensor.clone() for name, tensor in _tensors(batch).items()})
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(WARM_UP):
                self._without_gradients()
                self.passes(self.batch)
        torch.cuda.current_stream().wait_stream(stream)
        self._without_gradients()
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph):
                self.found = self.passes(self.batch)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            raise CudaGraphError(
                f"a training step cannot be recorded as a CUDA graph ({first_line(error)}); use `cuda_graph` false."
            ) from error
        self.graph, self.gradients = graph, [parameter.grad for parameter in self.parameters]

    def _without_gradients(self) -> None:
        for parameter in self.parameters:
            parameter.grad = None


def differentiation(learner: Learner, ann: UNet2DModel, spec: TrainingSpec, accelerator: Accelerator) -> Differentiate:
    """How the gradients of each batch are found: by a CUDA graph, where one can be recorded."""
    passes = partial(differentiate, learner, ann, spec, accelerator)
    return Replayed(passes, learner.parameters) if recordable(learner, spec, accelerator) else passes


def recordable(learner: Learner, spec: TrainingSpec, accelerator: Accelerator) -> bool:
    """Whether a step is one pass of one GPU; a scaled loss, blocks computed again and guidance ask for Python in it."""
    network: Any = accelerator.unwrap_model(learner.network)
    alone = accelerator.num_processes == 1 and spec.gradient_accumulation_steps == 1
    plain = spec.mixed_precision != "fp16" and not spec.gradient_checkpointing and not is_guided(network.guidance)
    return spec.cuda_graph and accelerator.device.type == "cuda" and alone and plain


def _tensors(batch: NoisyStates) -> dict[str, Tensor]:
    return {name: value for name, value in vars(batch).items() if isinstance(value, Tensor)}
