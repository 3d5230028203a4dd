import torch
from diffusers import DDIMScheduler, UNet2DModel

from ann2snn_diffusion import SpikeSpec, SpikingUNet2DModel, analog
from ann2snn_diffusion.spiking.folding import fold
from ann2snn_diffusion.spiking.overshoot import Overshoot
from ann2snn_diffusion.spiking.settle_overshoot import attach_overshoot, lessening, settle_overshoot, taken

SCHEDULER = DDIMScheduler(clip_sample=True, clip_sample_range=0.8)
TIMESTEPS = torch.tensor([20, 500, 900])


def made(amount: float) -> Overshoot:
    overshoot = Overshoot(1000, 2)
    signal = SCHEDULER.alphas_cumprod
    overshoot.roots.copy_(torch.stack([signal, 1 - signal]).sqrt())
    overshoot.clip.fill_(0.8)
    overshoot.taken.fill_(amount)
    return overshoot


def images(epsilon: torch.Tensor, states: torch.Tensor) -> torch.Tensor:
    signal = SCHEDULER.alphas_cumprod[TIMESTEPS].view(-1, 1, 1, 1)
    return (states - (1 - signal).sqrt() * epsilon) / signal.sqrt()


def test_what_the_sampler_does_not_clip_stays_and_what_it_clips_stays_clipped(generator: torch.Generator) -> None:
    states, epsilon = torch.randn(2, 3, 1, 16, 16, generator=generator)
    epsilon = made(0.05)(given := epsilon, states, TIMESTEPS, torch.tensor([0, 0, 1]))
    before, after = images(given, states), images(epsilon, states)
    inside = before.abs() < 0.8
    assert 0 < inside.sum() < inside.numel()
    assert torch.equal(epsilon[inside], given[inside])
    torch.testing.assert_close(after.clamp(-0.8, 0.8), before.clamp(-0.8, 0.8), rtol=0, atol=1e-4)
    assert (after[~inside].abs() < before[~inside].abs()).all()
    assert (epsilon - given).abs().max() < 0.0501


def test_nothing_is_taken_before_it_is_settled(generator: torch.Generator) -> None:
    states, epsilon = torch.randn(2, 3, 1, 16, 16, generator=generator)
    assert torch.equal(made(0.0)(epsilon, states, TIMESTEPS, torch.zeros(1, dtype=torch.int64)), epsilon)


def test_images_that_rounding_would_make_paler_keep_their_contrast(generator: torch.Generator) -> None:
    """Pixels lie around black and white; rounding adds white noise to ε; then one step of DDIM."""
    scheduler = DDIMScheduler(clip_sample=True)
    scheduler.set_timesteps(25)
    signal = scheduler.alphas_cumprod[400]
    clean = torch.where(torch.rand(1, 1, 200, 200, generator=generator) < 0.5, -1.0, 1.0)
    clean += 0.1 * torch.randn(clean.shape, generator=generator)
    epsilon, rounding = torch.randn(2, *clean.shape, generator=generator)
    states, rounded = signal.sqrt() * clean + (1 - signal).sqrt() * epsilon, epsilon + 0.03 * rounding
    overshoot = Overshoot(1000, 1)
    overshoot.roots.copy_(torch.stack([scheduler.alphas_cumprod, 1 - scheduler.alphas_cumprod]).sqrt())
    here = (torch.tensor([400]), torch.zeros(1, dtype=torch.int64))
    for side, (of_ann, of_snn) in enumerate(
        zip(*(overshoot.beyond(one, states, here[0]) for one in (epsilon, rounded)), strict=True)
    ):
        more = lessening(overshoot, here[0]).item() * (of_snn.double().mean() - of_ann.double().mean()).item()
        overshoot.taken[side] = taken(of_snn, more)

    def contrast(predicted: torch.Tensor) -> float:
        following = scheduler.step(predicted, 400, states).prev_sample  # pyright: ignore
        return (following[clean > 0].mean() - following[clean < 0].mean()).item()

    lost = contrast(epsilon) - contrast(rounded)
    assert lost > 0
    assert abs(contrast(epsilon) - contrast(overshoot(rounded, states, *here))) < lost / 20


def test_what_is_taken_leaves_the_mean_that_was_asked_for(generator: torch.Generator) -> None:
    overshoot = torch.rand(1000, generator=generator)
    most = taken(overshoot, 0.2)
    assert abs(overshoot.clamp(max=most).mean().item() - 0.2) < 1e-6
    assert taken(overshoot, -0.1) == 0
    assert taken(overshoot, 0.6) == overshoot.max()


def known(unet: UNet2DModel) -> tuple[SpikingUNet2DModel, tuple[torch.Tensor, torch.Tensor, None]]:
    """A network that overshoots, and states of two noise segments."""
    network = SpikingUNet2DModel.from_unet(unet, SpikeSpec(segments=(0, 300)))
    attach_overshoot(network, SCHEDULER.alphas_cumprod, 0.1)
    generator = torch.Generator().manual_seed(1)
    states = torch.randn(8, unet.config["in_channels"], *[unet.config["sample_size"]] * 2, generator=generator)
    return network, (states, torch.tensor([100, 200, 500, 800]).repeat(2), None)


def test_a_settled_network_overshoots_less_by_what_the_clip_let_through(unet: UNet2DModel) -> None:
    network, batch = known(unet)
    overshoot = network.overshoot
    assert overshoot is not None
    with torch.no_grad():
        before = network(*batch).sample
        with analog(network):
            ann = network(*batch).sample
        settle_overshoot(network, batch, ann, 3)
        after = network(*batch).sample
    assert (overshoot.taken > 0).any()
    factor = lessening(overshoot, batch[1]).view(-1, 1, 1, 1)
    assert ((factor >= 1) & (factor <= 2)).all()
    for rows in (batch[1] < 300, batch[1] >= 300):
        for side in range(2):
            of_ann, of_before, of_after = (
                overshoot.beyond(one, *batch[:2])[side][rows] for one in (ann, before, after)
            )
            wanted = (factor[rows] * (of_before - of_ann)).mean().clamp(min=0)
            less = (of_before - of_after).mean()
            torch.testing.assert_close(less, torch.minimum(wanted, of_before.mean()), rtol=1e-4, atol=1e-6)
    assert torch.equal(ann, unet(*batch).sample)


def test_copies_folded_networks_and_files_keep_what_was_settled(unet: UNet2DModel, tmp_path: object) -> None:
    network, batch = known(unet)
    with analog(network), torch.no_grad():
        ann = network(*batch).sample
    settle_overshoot(network, batch, ann, 8)
    network.save_pretrained(str(tmp_path))
    loaded = SpikingUNet2DModel.from_pretrained(str(tmp_path))
    slower = network.with_spec(SpikeSpec(segments=(0, 300), time_steps=5))
    for other in (loaded, fold(network), slower):
        assert other.overshoot is not None
        assert network.overshoot is not None
        assert torch.equal(other.overshoot.taken, network.overshoot.taken)
    with torch.no_grad():
        assert torch.equal(loaded(*batch).sample, network(*batch).sample)
    assert network.ann().state_dict().keys() == unet.state_dict().keys()
