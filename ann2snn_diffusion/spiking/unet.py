"""SpikingUNet2DModel: a UNet2DModel whose layers went through the rules."""

from __future__ import annotations

import fnmatch
import inspect
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import torch
from diffusers import UNet2DModel
from diffusers.models.unets.unet_2d import UNet2DOutput
from safetensors import SafetensorError
from torch import Tensor, nn

from ann2snn_diffusion.common.errors import A2SError, first_line
from ann2snn_diffusion.common.specs import require
from ann2snn_diffusion.spiking.corrected import Corrected
from ann2snn_diffusion.spiking.folding import require_ann
from ann2snn_diffusion.spiking.forward_pass import ForwardPass, Mode, checkpoint, running
from ann2snn_diffusion.spiking.guidance import Guidance, factors, step_factors
from ann2snn_diffusion.spiking.neuron import SpikingNeuron
from ann2snn_diffusion.spiking.overshoot import Overshoot
from ann2snn_diffusion.spiking.rules import Site, UnsupportedLayerError, named_by, to_spiking
from ann2snn_diffusion.spiking.spec import SpikeSpec
from ann2snn_diffusion.spiking.ticks import value_of


class SourceError(A2SError):
    """A model that cannot be loaded."""


def architecture(unet: UNet2DModel) -> dict[str, Any]:
    """The arguments that build a UNet2DModel like ``unet``."""
    names = inspect.signature(UNet2DModel.__init__).parameters
    return {name: value for name, value in unet.config.items() if name in names}


class SpikingUNet2DModel(UNet2DModel):
    """A diffusers U-Net of spiking neurons; an ordinary ``nn.Module`` that every pipeline and scheduler accepts.

    Args:
        spiking: a SpikeSpec as a dictionary, as `SpikeSpec.to_dict` gives it; part of config.json.
        converted_from: ``source`` and ``revision`` of the ANN, as far as they are known.
        folded: each synapse has one weight, and the ANN is gone; see `fold`.
        clipped_timesteps: how many diffusion timesteps a sampler has that clips, see `Overshoot`; None: it does not.
        **unet: UNet2DModel's own arguments.

    Raises:
        SpecError: invalid ``spiking`` or ``folded``.
        UnsupportedLayerError: a layer without a rule.
    """

    # The name that pipelines save: importing the package is enough to load one.
    __module__ = "ann2snn_diffusion"

    def __init__(
        self,
        *,
        spiking: Mapping[str, Any],
        converted_from: Mapping[str, Any] | None = None,
        folded: bool = False,
        clipped_timesteps: int | None = None,
        **unet: Any,
    ) -> None:
        super().__init__(**unet)
        require(isinstance(folded, bool), "folded", folded, "true or false")
        self.register_to_config(converted_from=converted_from, folded=folded, clipped_timesteps=clipped_timesteps)
        self.spec = SpikeSpec.from_dict(spiking)
        self.mode = Mode()
        self.replica_of_ann = False
        self._refuse_idle_patterns()
        to_spiking(self, Site(self.spec))
        self._refuse_idle_doubling()
        for layer in self.synapses().values() if folded else ():
            layer.fold()
        self.guidance = self.spec.guidance
        self.overshoot = Overshoot(clipped_timesteps, len(self.spec.segments)) if clipped_timesteps else None

    # diffusers reads the names of a config's fields off this signature.
    __init__.__signature__ = inspect.Signature(  # pyright: ignore[reportFunctionMemberAccess]
        [
            *inspect.signature(UNet2DModel.__init__).parameters.values(),
            inspect.Parameter("spiking", inspect.Parameter.KEYWORD_ONLY),
            inspect.Parameter("converted_from", inspect.Parameter.KEYWORD_ONLY, default=None),
            inspect.Parameter("folded", inspect.Parameter.KEYWORD_ONLY, default=False),
            inspect.Parameter("clipped_timesteps", inspect.Parameter.KEYWORD_ONLY, default=None),
        ]
    )

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | Path, **kwargs: Any) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Load a U-Net folder, a pipeline folder or a hub id; takes diffusers' own keyword arguments.

        Returns:
            The network; with ``output_loading_info`` also a dictionary of what loading found, as of diffusers.

        Raises:
            SourceError: weights missing, corrupt, or other than the config's network has.
        """
        place, informed = Path(pretrained_model_name_or_path), kwargs.pop("output_loading_info", False)
        if not (place / "config.json").exists():
            kwargs.setdefault("subfolder", "unet")
        try:
            loaded: Any = super().from_pretrained(pretrained_model_name_or_path, **kwargs, output_loading_info=True)
        except (OSError, ValueError, RuntimeError, TypeError, SafetensorError) as error:
            if isinstance(error, A2SError):
                raise
            raise SourceError(f"{place}: the spiking U-Net could not be loaded: {first_line(error)}") from error
        unet, info = loaded
        for problem in ("missing_keys", "unexpected_keys", "mismatched_keys"):
            if info[problem]:
                raise SourceError(f"{place}: {problem.replace('_', ' ')} in the weights: {info[problem][0]} …")
        if place.exists():
            unet.register_to_config(_name_or_path=place.resolve().name)  # never this machine's path
        return (unet, info) if informed else unet

    @classmethod
    def from_unet(cls, unet: UNet2DModel, spec: SpikeSpec) -> Self:
        """The spiking counterpart of ``unet``, with copies of its weights and thresholds of 1, not yet calibrated."""
        spiking = cls(spiking=spec.to_dict(), **architecture(unet))
        missing, unexpected = spiking.load_state_dict(unet.state_dict(), strict=False)
        lost = sorted(set(missing) - spiking.own_parameters())
        if lost or unexpected:
            raise UnsupportedLayerError(f"Parameters changed their names: {lost[:3]} {unexpected[:3]}.")
        # ModelMixin.to warns about every dtype it is given.
        nn.Module.to(spiking, unet.device, unet.dtype)
        return spiking.train(unet.training)

    @property
    def folded(self) -> bool:
        """Whether each synapse has one weight, and the ANN is gone; see `fold`."""
        return self.config["folded"]

    def ann(self) -> UNet2DModel:
        """The ANN that this network was converted from, bitwise, as a network of its own.

        Raises:
            FoldedError: the network is folded.
        """
        weights, ann = self.ann_state_dict(), UNet2DModel(**architecture(self))
        ann.load_state_dict(weights)
        nn.Module.to(ann, self.device, self.dtype)
        return ann.train(self.training)

    def ann_state_dict(self) -> dict[str, Tensor]:
        """The ANN's part of the state_dict: what `ann` would have in its own, not copied.

        Raises:
            FoldedError: the network is folded.
        """
        require_ann(self, "ann()")
        own = self.own_parameters()
        return {name: tensor for name, tensor in self.state_dict().items() if name not in own}

    def own_parameters(self) -> set[str]:
        """Names of what the ANN's state_dict has not: what neurons, layers and `Overshoot` call their own."""
        return {
            f"{name}.{own}"
            for name, module in self.named_modules(remove_duplicate=False)
            if isinstance(module, SpikingNeuron | Corrected | Overshoot)
            for own in module.own_parameters
            if getattr(module, own) is not None
        }

    def with_spec(self, spec: SpikeSpec) -> SpikingUNet2DModel:
        """A copy that fires as ``spec`` says, with all parameters that both have; this network, where nothing differs.

        What it has alone starts as in a new network: leaks at ``spec.leak``, amplitudes at the step weights.
        """
        if spec == self.spec:
            return self
        config = {name: self.config[name] for name in ("converted_from", "folded", "clipped_timesteps")}
        network = type(self)(spiking=spec.to_dict(), **config, **architecture(self))
        # Only leaks and amplitudes can be missing, or left over.
        network.load_state_dict(self.state_dict(), strict=False)
        nn.Module.to(network, self.device, self.dtype)
        return network.train(self.training)

    @property
    def guidance(self) -> Guidance:
        """Threshold guidance, see `ann2snn_diffusion.spiking.guidance`: one factor, or factors by group; 1 is none.

        Setting it takes effect in the next forward pass, and is saved with the network.

        Raises:
            SpecError: an unknown group, or a factor out of (0, 10].
        """
        return self.spec.guidance

    @guidance.setter
    def guidance(self, guidance: Guidance) -> None:
        self.spec = replace(self.spec, guidance=guidance)
        self.register_to_config(spiking=self.spec.to_dict())
        for name, neuron in self.neurons().items():
            neuron.guidance = factors(guidance, name, self.spec.segments)
            neuron.step_guidance = step_factors(guidance)

    def _refuse_idle_patterns(self) -> None:
        names = [name for name, _ in self.named_modules()]
        for pattern in self.spec.keep:
            if not fnmatch.filter(names, pattern):
                raise UnsupportedLayerError(f"keep = {pattern!r} matches no module; names look like {names[-1]!r}.")

    def _refuse_idle_doubling(self) -> None:
        doubled = [name for name, neuron in self.neurons().items() if neuron.doubled]
        for pattern in self.spec.doubled:
            if not any(named_by(name, (pattern,)) for name in doubled) and pattern != "*":
                example = next(iter(self.neurons()), "none").removesuffix(".neuron")
                raise UnsupportedLayerError(f"doubled = {pattern!r} matches no site; sites look like {example!r}.")

    def neurons(self) -> dict[str, SpikingNeuron]:
        """All sites by qualified name."""
        return {name: module for name, module in self.named_modules() if isinstance(module, SpikingNeuron)}

    def synapses(self) -> dict[str, Corrected]:
        """All layers with weights that receive spikes, by qualified name."""
        return {name: module for name, module in self.named_modules() if isinstance(module, Corrected)}

    def segment_of(self, diffusion_timestep: Tensor) -> Tensor:
        """Noise segment of each diffusion timestep, as the network is told it, int64 [B]."""
        told = diffusion_timestep.float()
        # Numbers, not a tensor of them: that would be moved to the device, which a CUDA graph cannot hold.
        return sum((told >= start for start in self.spec.segments[1:]), torch.zeros_like(told, dtype=torch.int64))

    def forward(
        self,
        sample: Tensor,
        timestep: Tensor | float | int,
        class_labels: Tensor | None = None,
        return_dict: bool = True,
    ) -> UNet2DOutput | tuple[Tensor, ...]:
        """As `UNet2DModel.forward`: the predicted noise [B, C, H, W] for noisy images at a diffusion timestep."""
        batch, as_ann = sample.shape[0], self.mode.analog or self.replica_of_ann
        told, states = torch.as_tensor(timestep, device=sample.device).reshape(-1), sample
        steps = told.expand(batch)
        ticks = self.spec.time_steps if self.spec.schedule == "synchronous" and not as_ann else 1
        if ticks > 1:
            sample, steps = sample.repeat(ticks, 1, 1, 1), steps.repeat(ticks)
            if class_labels is not None:
                class_labels = class_labels.repeat(ticks, *[1] * (class_labels.ndim - 1))
        segment = self.segment_of(told)
        of_rows = None if len(self.spec.segments) == 1 else segment if told.shape[0] == 1 else segment.repeat(ticks)
        with running(ForwardPass(of_rows, ticks, sample, as_ann, self.mode.listener, self.mode.fused)):
            (noise,) = super().forward(sample, steps, class_labels, return_dict=False)
        noise = value_of(noise, batch)
        if self.overshoot is not None and not as_ann:
            noise = self.overshoot(noise, states, told, segment)
        return UNet2DOutput(sample=noise) if return_dict else (noise,)

    def enable_gradient_checkpointing(self, gradient_checkpointing_func: Callable[..., Any] | None = None) -> None:
        """As `ModelMixin.enable_gradient_checkpointing`; by default blocks are computed again within their own pass."""
        super().enable_gradient_checkpointing(gradient_checkpointing_func or checkpoint)

    def _replicate_for_data_parallel(self) -> Self:
        # DataParallel runs replicas in threads of their own, which know nothing of the mode in this one.
        replica = super()._replicate_for_data_parallel()
        replica.replica_of_ann = self.mode.analog
        # Weights of a replica are plain tensors, among which diffusers 0.42 fails to find its dtype.
        replica._buffers["of_dtype"] = torch.empty(0, dtype=self.dtype)
        return replica
