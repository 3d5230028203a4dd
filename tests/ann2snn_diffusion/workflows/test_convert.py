import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from diffusers import DDPMPipeline, DDPMScheduler, UNet2DModel
from safetensors.torch import load_file

from ann2snn_diffusion import SpikingUNet2DModel, fold
from ann2snn_diffusion.common.progress import Advance, silent
from ann2snn_diffusion.common.specs import SpecError
from ann2snn_diffusion.diffusion.conditioning import ImageSizeError
from ann2snn_diffusion.evaluation.fidelity import FidelitySpec, measure_fidelity
from ann2snn_diffusion.models.loading import Source, load_converted
from ann2snn_diffusion.spiking.calibration_spec import CalibrationSpec
from ann2snn_diffusion.spiking.spec import SpikeSpec
from ann2snn_diffusion.workflows.conversion_settings import Settings
from ann2snn_diffusion.workflows.convert import ConversionError, convert, convert_to_folder
from ann2snn_diffusion.workflows.result_folder import Writing
from tests.conftest import build_unet

QUICK = CalibrationSpec(energy=0, states=28, positions=64, sampler_steps=3)


def test_the_python_call_leaves_the_ann_as_it_is(unet: UNet2DModel, scheduler: DDPMScheduler) -> None:
    before = {name: weight.clone() for name, weight in unet.state_dict().items()}
    conversion = convert(unet, scheduler, calibration=replace(QUICK, energy=None), fidelity=FidelitySpec(4, 4))
    assert all(torch.equal(before[name], weight) for name, weight in unet.state_dict().items())
    assert conversion.report.epsilon_error < 0.2


@pytest.mark.parametrize("energy", [0, None])
def test_every_synapse_but_those_of_the_image_and_the_time_embedding_is_driven_by_counted_spikes(
    unet: UNet2DModel, scheduler: DDPMScheduler, energy: float | None
) -> None:
    report = convert(unet, scheduler, calibration=replace(QUICK, energy=energy)).report
    analog = {synapse.name for synapse in report.synapses if synapse.driven_by == "analog"}
    assert all(name in ("conv_in", "conv_out.image") or "time_emb" in name for name in analog)
    assert report.spike_driven > 0.9
    # What a synapse receives is exactly offset + unit · its counted spikes.
    assert max(site.off_level for site in report.sites) < 1e-4
    assert all(0 < site.firing_rate < 1 for site in report.sites)


def test_operations_are_counted_as_by_hand(unet: UNet2DModel, scheduler: DDPMScheduler) -> None:
    report = convert(unet, scheduler, calibration=QUICK).report
    counted = {synapse.name: synapse.operations for synapse in report.synapses}
    assert counted["conv_in"] == 8 * 8 * 8 * 1 * 9
    assert counted["down_blocks.0.downsamplers.0.conv"] == 4 * 4 * 8 * 8 * 9
    assert counted["down_blocks.1.attentions.0.to_q"] == 16 * 16 * 16
    assert counted["down_blocks.1.attentions.0.q·kᵀ"] == 16 * 16 * 16
    assert counted["time_embedding.linear_1"] == 8 * 32
    assert counted["conv_out"] == 8 * 8 * 8 * 9
    assert counted["conv_out.image"] == 8 * 8 * 9


def test_calibration_from_images(unet: UNet2DModel, scheduler: DDPMScheduler) -> None:
    images = torch.rand(3, 1, 8, 8) * 2 - 1
    default = replace(QUICK, energy=None)
    report = convert(unet, scheduler, calibration=default, images=images, fidelity=FidelitySpec(4, 4)).report
    assert report.epsilon_error < 0.2


def test_a_conversion_that_converts_nothing_fails(unet: UNet2DModel, scheduler: DDPMScheduler) -> None:
    with pytest.raises(ConversionError, match="Nothing was converted"):
        convert(unet, scheduler, spec=SpikeSpec(keep=("*",)), calibration=QUICK)


def test_a_network_that_is_spiking_already_is_refused_in_one_line(unet: UNet2DModel, scheduler: DDPMScheduler) -> None:
    with pytest.raises(ConversionError, match=r"spiking already; pass the ANN .* its `ann\(\)`\.$") as refused:
        convert(SpikingUNet2DModel.from_unet(unet, SpikeSpec()), scheduler)
    assert "\n" not in str(refused.value)


def test_a_network_that_does_not_say_how_large_its_images_are_is_refused(scheduler: DDPMScheduler) -> None:
    with pytest.raises(ImageSizeError, match="sample_size = None; set it"):
        convert(build_unet(sample_size=None), scheduler)


def test_an_ann_whose_own_output_is_not_finite_is_named_before_any_work(
    unet: UNet2DModel, scheduler: DDPMScheduler
) -> None:
    torch.nn.init.constant_(unet.down_blocks[1].resnets[0].conv1.weight, 1e38)  # pyright: ignore
    stages: list[str] = []

    def track(stage: str, steps: int) -> Advance:
        stages.append(stage)
        return silent(stage, steps)

    with pytest.raises(ConversionError, match=r"ANN's own output .* down_blocks\.1\.resnets\.0\.conv1 "):
        convert(unet, scheduler, calibration=QUICK, track=track)
    assert not stages


@pytest.mark.parametrize("spec", [SpikeSpec(), SpikeSpec(coding="rate", schedule="synchronous", time_steps=2)])
def test_the_folder_is_a_pipeline_with_report_card_and_pictures(
    unet: UNet2DModel, scheduler: DDPMScheduler, tmp_path: Path, spec: SpikeSpec
) -> None:
    source = Source(unet, scheduler, "tiny")  # pyright: ignore[reportArgumentType]
    calibration, writing = replace(QUICK, seed=3), Writing(samples=2, sample_steps=2)
    report = convert_to_folder(source, tmp_path / "out", spec=spec, calibration=calibration, writing=writing).report
    content = json.loads((tmp_path / "out" / "conversion_report.json").read_text())
    assert content["source"] == "tiny"
    (step,) = content["provenance"]
    assert step["command"] == "convert"
    assert step["settings"]["calibration"]["seed"] == 3
    assert step["after"]["epsilon_error"] == report.epsilon_error
    assert SpikeSpec.from_dict(content["spiking"]) == Settings.of(spec, calibration, unet, scheduler).spec
    assert content["epsilon_error"] == report.epsilon_error
    assert len(content["sites"]) == len(report.sites)
    energy = report.costs.energy("horowitz-45nm")
    assert content["energy_share"] == step["after"]["energy_share"] == energy.share
    assert content["spikes_per_neuron"] == step["after"]["spikes_per_neuron"] == report.costs.spikes_per_neuron
    assert (
        f"| energy of the synapses, share of the ANN's | {energy.share:.3f} |"
        in (tmp_path / "out" / "README.md").read_text()
    )
    assert (tmp_path / "out" / "samples.png").read_bytes()[1:4] == b"PNG"
    assert "tiny" in (tmp_path / "out" / "README.md").read_text()
    assert isinstance(DDPMPipeline.from_pretrained(tmp_path / "out").unet, SpikingUNet2DModel)
    for file in (tmp_path / "out").rglob("*.json"):
        assert str(tmp_path) not in file.read_text(), file


def test_the_same_command_twice_writes_the_same_weights(
    unet: UNet2DModel, scheduler: DDPMScheduler, tmp_path: Path
) -> None:
    source = Source(unet, scheduler, "tiny")  # pyright: ignore[reportArgumentType]
    for name in ("one", "two"):
        convert_to_folder(source, tmp_path / name, calibration=QUICK, writing=Writing(samples=0))
    one, two = (
        (tmp_path / name / "unet" / "diffusion_pytorch_model.safetensors").read_bytes() for name in ("one", "two")
    )
    assert one == two


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_a_folder_of_another_dtype_holds_what_was_measured(
    unet: UNet2DModel, scheduler: DDPMScheduler, tmp_path: Path, dtype: str
) -> None:
    source = Source(unet, scheduler, "tiny")  # pyright: ignore[reportArgumentType]
    writing = Writing(samples=0, dtype=dtype)
    report = convert_to_folder(source, tmp_path / "out", calibration=QUICK, writing=writing).report
    file = tmp_path / "out" / "unet" / "diffusion_pytorch_model.safetensors"
    written = load_file(file)
    assert written["conv_in.weight"].dtype == getattr(torch, dtype)
    assert written["conv_out.neuron.threshold"].dtype == torch.float32
    loaded = load_converted(tmp_path / "out").unet
    assert loaded.dtype == torch.float32
    assert measure_fidelity(loaded, scheduler).epsilon_error == report.epsilon_error


def test_an_unknown_dtype_is_refused() -> None:
    with pytest.raises(SpecError, match="dtype = 'int8': expected one of float32, float16, bfloat16"):
        Writing(dtype="int8")


def test_corrections_are_stored_in_half_precision_and_loaded_to_the_bit(
    unet: UNet2DModel, scheduler: DDPMScheduler, tmp_path: Path
) -> None:
    source = Source(unet, scheduler, "tiny")  # pyright: ignore[reportArgumentType]
    converted = convert_to_folder(source, tmp_path / "out", calibration=QUICK, writing=Writing(0)).unet.state_dict()
    stored = load_file(tmp_path / "out" / "unet" / "diffusion_pytorch_model.safetensors")
    halves = {name for name, tensor in stored.items() if tensor.dtype == torch.float16}
    corrections = {name for name in stored if name.endswith("weight_correction")}
    assert halves == corrections - {"conv_out.weight_correction"}  # which has large weights that nearly cancel
    loaded = SpikingUNet2DModel.from_pretrained(tmp_path / "out").state_dict()
    assert {weight.dtype for weight in loaded.values()} == {torch.float32}
    assert all(torch.equal(loaded[name], weight) for name, weight in converted.items())
    assert any(weight.any() for name, weight in loaded.items() if name.endswith("weight_correction"))


def test_a_folded_folder_holds_the_network_that_its_report_is_of(
    unet: UNet2DModel, scheduler: DDPMScheduler, tmp_path: Path
) -> None:
    source = Source(unet, scheduler, "tiny")  # pyright: ignore[reportArgumentType]
    usual = convert(unet, scheduler, calibration=QUICK)
    writing = Writing(samples=1, sample_steps=2, folded=True)
    conversion = convert_to_folder(source, tmp_path / "out", calibration=QUICK, writing=writing)
    loaded = load_converted(tmp_path / "out").unet
    assert loaded.folded
    written = loaded.state_dict()
    assert all(torch.equal(written[name], weight) for name, weight in conversion.unet.state_dict().items())
    report = measure_fidelity(loaded, scheduler, unfolded=usual.unet)
    assert report.figures() == conversion.report.figures()
    assert report.epsilon_error == pytest.approx(usual.report.epsilon_error, rel=0.01)
    assert report.costs.footprint == sum(weight.nbytes for weight in written.values()) < usual.report.costs.footprint
    content = json.loads((tmp_path / "out" / "conversion_report.json").read_text())
    assert content["folded"] is content["provenance"][0]["settings"]["folded"] is True
    assert content["epsilon_error"] == report.epsilon_error
    assert "Folded: one weight for each synapse" in (tmp_path / "out" / "README.md").read_text()


def test_what_half_precision_costs_a_folded_network_is_in_its_report(
    unet: UNet2DModel, scheduler: DDPMScheduler, tmp_path: Path
) -> None:
    source = Source(unet, scheduler, "tiny")  # pyright: ignore[reportArgumentType]
    writing = Writing(samples=0, dtype="bfloat16", folded=True)
    report = convert_to_folder(source, tmp_path / "out", calibration=QUICK, writing=writing).report
    whole = convert(unet, scheduler, calibration=QUICK).unet
    loaded = load_converted(tmp_path / "out").unet
    assert measure_fidelity(loaded, scheduler, unfolded=whole).epsilon_error == report.epsilon_error
    assert report.epsilon_error != measure_fidelity(fold(whole), scheduler, unfolded=whole).epsilon_error
