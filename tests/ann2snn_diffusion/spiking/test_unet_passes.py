import copy
import threading
from collections.abc import Callable
from contextlib import nullcontext

import pytest
import torch
from diffusers import UNet2DModel
from torch import Tensor, nn

from ann2snn_diffusion.spiking.forward_pass import current
from ann2snn_diffusion.spiking.modes import analog, listening
from ann2snn_diffusion.spiking.spec import SpikeSpec
from ann2snn_diffusion.spiking.unet import SpikingUNet2DModel

EARLY, LATE = torch.tensor([5, 700]), torch.tensor([990, 40])


@torch.no_grad()
def test_a_pass_that_fails_leaves_nothing_behind(spiking: SpikingUNet2DModel) -> None:
    before = current()
    with pytest.raises(RuntimeError):
        spiking(torch.randn(2, 3, 8, 8), EARLY)  # three channels
    assert current() is before


@torch.no_grad()
def test_threads_on_one_network_draw_what_networks_of_their_own_would(spiking: SpikingUNet2DModel) -> None:
    samples = torch.randn(2, 3, 1, 8, 8)
    timesteps = torch.tensor([[0, 900, 300], [800, 20, 600]])
    expected = [spiking(sample, timestep).sample for sample, timestep in zip(samples, timesteps, strict=True)]
    assert all(drawn_by_threads([spiking, spiking], samples, timesteps, expected, rounds=30))


@torch.no_grad()
def test_replicas_draw_what_their_network_would(spiking: SpikingUNet2DModel) -> None:
    samples = torch.randn(2, 3, 1, 8, 8)
    timesteps = torch.tensor([[0, 900, 300], [800, 20, 600]])
    for mode in (nullcontext, analog):
        with mode(spiking):
            expected = [spiking(sample, timestep).sample for sample, timestep in zip(samples, timesteps, strict=True)]
            # As DataParallel does it: new replicas for every pass, each in a thread of its own.
            replicas = [replica_of(spiking) for _ in range(2)]
            assert all(torch.equal(replicas[0](samples[i], timesteps[i]).sample, expected[i]) for i in range(2))
            assert all(drawn_by_threads(replicas, samples, timesteps, expected, rounds=10))


def drawn_by_threads(
    networks: list[SpikingUNet2DModel], samples: Tensor, timesteps: Tensor, expected: list[Tensor], rounds: int
) -> list[bool]:
    """Whether each of as many threads as networks drew what was expected, in each round; all start together."""
    barrier, same = threading.Barrier(len(networks), timeout=60), []

    @torch.no_grad()
    def draw(index: int) -> None:
        for _ in range(rounds):
            barrier.wait()
            same.append(torch.equal(networks[index](samples[index], timesteps[index]).sample, expected[index]))

    threads = [threading.Thread(target=draw, args=(index,)) for index in range(len(networks))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(same) == rounds * len(networks)
    return same


def replica_of(network: SpikingUNet2DModel) -> SpikingUNet2DModel:
    """What `torch.nn.parallel.replicate` makes, which has no CPU form: shallow copies with tensors for parameters."""
    replicas = {module: module._replicate_for_data_parallel() for module in network.modules()}
    for module, replica in replicas.items():
        for name, child in module._modules.items():
            replica._modules[name] = None if child is None else replicas[child]
        for name, parameter in module._parameters.items():
            # Broadcast gives plain tensors, which are no parameters.
            setattr(replica, name, None if parameter is None else parameter.detach().clone())
    return replicas[network]  # pyright: ignore[reportReturnType]


@torch.no_grad()
def test_analog_holds_for_this_network_and_this_thread_alone(spiking: SpikingUNet2DModel, unet: UNet2DModel) -> None:
    sample, twin = torch.randn(2, 1, 8, 8), copy.deepcopy(spiking)
    spikes, ann = spiking(sample, EARLY).sample, unet(sample, EARLY).sample
    found: list[Tensor] = []
    with analog(spiking), analog(spiking):
        thread = threading.Thread(target=torch.no_grad()(lambda: found.append(spiking(sample, EARLY).sample)))
        thread.start()
        thread.join()
        assert torch.equal(found[0], spikes)
        assert torch.equal(twin(sample, EARLY).sample, spikes)
        with analog(spiking):
            pass
        assert torch.equal(spiking(sample, EARLY).sample, ann)
        assert torch.equal(replica_of(spiking)(sample, EARLY).sample, ann)
    with pytest.raises(ZeroDivisionError), analog(spiking):
        raise ZeroDivisionError
    assert torch.equal(spiking(sample, EARLY).sample, spikes)


def test_only_a_spiking_network_runs_as_an_ann(spiking: SpikingUNet2DModel) -> None:
    with pytest.raises(TypeError, match="expected a SpikingUNet2DModel, or a module that holds one, got a SpikingO"):
        analog(spiking.conv_out).__enter__()
    with analog(nn.Sequential(spiking)):
        assert spiking.mode.analog


@torch.no_grad()
def test_a_listener_hears_of_every_neuron_of_its_network_alone(spiking: SpikingUNet2DModel) -> None:
    sample, twin = torch.randn(2, 1, 8, 8), copy.deepcopy(spiking)
    with listening(spiking, lambda neuron, value: value) as heard:
        twin(sample, EARLY)
        assert not heard
        spiking(sample, EARLY)
        assert set(heard) == set(spiking.neurons().values())
        heard.clear()
        with analog(spiking):  # nothing charges a neuron
            spiking(sample, EARLY)
    spiking(sample, EARLY)
    assert not heard


@pytest.mark.slow
def test_a_training_step_of_the_whole_network_is_traced_in_one_graph(make_unet: Callable[..., UNet2DModel]) -> None:
    unet = make_unet(
        block_out_channels=(8,), down_block_types=("DownBlock2D",), up_block_types=("UpBlock2D",), mid_block_type=None
    )
    snn = SpikingUNet2DModel.from_unet(unet, SpikeSpec()).train()
    compiled, sample, found = torch.compile(snn, fullgraph=True, backend="aot_eager"), torch.randn(2, 1, 8, 8), []
    for network in (snn, compiled):
        snn.zero_grad()
        network(sample, EARLY).sample.square().sum().backward()
        found.append({name: parameter.grad for name, parameter in snn.named_parameters()})
    for name, gradient in found[0].items():
        torch.testing.assert_close(found[1][name], gradient)
    with torch.no_grad(), analog(snn):
        assert torch.equal(compiled(sample, EARLY).sample, unet(sample, EARLY).sample)
    torch._dynamo.reset()
