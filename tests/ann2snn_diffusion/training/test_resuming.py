from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from ann2snn_diffusion.common.atomic_output import OutputError
from ann2snn_diffusion.spiking.unet import SpikingUNet2DModel
from ann2snn_diffusion.training.checkpoint import ResumeError, checkpoints, find_checkpoint
from tests.ann2snn_diffusion.training.short_trainings import losses_of, pictures, run


def test_resumed_from_an_older_checkpoint_amid_torn_logs_it_ends_as_it_did(
    make_snn: Callable[..., SpikingUNet2DModel], tmp_path: Path
) -> None:
    whole, again = make_snn(), make_snn()
    run(whole, tmp_path / "run")
    (tmp_path / "run" / "loss.jsonl").write_bytes(b'{"step": 1, "dist\n\n\xff\x00garbage\n')
    run(again, tmp_path / "run", {"resume": "checkpoint-000002"})
    assert all(torch.equal(one, other) for one, other in zip(whole.parameters(), again.parameters(), strict=True))
    assert [place.name for place in checkpoints(tmp_path / "run")] == ["checkpoint-000002", "checkpoint-000004"]
    (tmp_path / "run" / "loss.jsonl").unlink()
    (tmp_path / "run" / "loss.jsonl").mkdir()
    run(make_snn(), tmp_path / "run", {"resume": "checkpoint-000002"})


@pytest.mark.parametrize("use_ema", [True, False])
def test_a_finished_checkpoint_is_what_training_would_have_handed_out_there_and_may_still_be_resumed(
    make_snn: Callable[..., SpikingUNet2DModel], tmp_path: Path, use_ema: bool
) -> None:
    seen: dict[int, dict[str, Tensor]] = {}

    def look(done: int, network: SpikingUNet2DModel, _: Path | None) -> None:
        seen[done] = {name: part.clone() for name, part in network.state_dict().items()}

    whole, folder = make_snn(), tmp_path / "run"
    run(whole, folder, {"look": look}, use_ema=use_ema, save_images_steps=2)
    log = (folder / "loss.jsonl").read_text()
    for checkpoint, step in (("checkpoint-000002", 2), ("latest", 4)):
        finished = make_snn()
        done = run(finished, folder, {"finish": checkpoint}, use_ema=use_ema)
        assert done.step == step
        assert done.seconds > 0
        assert all(torch.equal(part, seen[step][name]) for name, part in finished.state_dict().items())
        assert not finished.training
        assert not any(parameter.requires_grad for parameter in finished.parameters())
    assert (folder / "loss.jsonl").read_text() == log
    assert [place.name for place in checkpoints(folder)] == ["checkpoint-000002", "checkpoint-000004"]
    assert not all(torch.equal(seen[2][name], part) for name, part in whole.state_dict().items())


@pytest.mark.parametrize(("data", "changes"), [(False, {}), (True, {}), (False, {"energy": 0.2})])
def test_a_resumed_training_is_bitwise_one_that_never_stopped(
    make_snn: Callable[..., SpikingUNet2DModel], tmp_path: Path, data: bool, changes: dict[str, Any]
) -> None:
    more: dict[str, Any] = {"images": pictures()} if data else {}
    whole = make_snn()
    run(whole, tmp_path / "whole", more, **changes)

    def stop(done: int | None = None, figures: Any = None) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(make_snn(), tmp_path / "stopped", more | {"track": lambda stage, steps: stop}, **changes)
    resumed = make_snn()
    run(resumed, tmp_path / "stopped", more | {"resume": "latest"}, **changes)
    for (name, one), other in zip(whole.state_dict().items(), resumed.state_dict().values(), strict=True):
        assert torch.equal(one, other), name
    assert [line["step"] for line in losses_of(tmp_path / "stopped")] == [1, 2, 3, 3, 4]
    last, expected = losses_of(tmp_path / "stopped")[-1], losses_of(tmp_path / "whole")[-1]
    assert last | {"seconds": 0} == expected | {"seconds": 0}


def test_only_the_newest_checkpoints_are_kept(make_snn: Callable[..., SpikingUNet2DModel], tmp_path: Path) -> None:
    run(make_snn(), tmp_path / "run", checkpointing_steps=1, checkpoints_total_limit=2)
    assert [place.name for place in checkpoints(tmp_path / "run")] == ["checkpoint-000003", "checkpoint-000004"]
    assert sorted(place.name for place in (tmp_path / "run").iterdir()) == [
        "checkpoint-000003", "checkpoint-000004", "loss.jsonl",
    ]  # fmt: skip


def test_a_checkpoint_of_another_training_or_a_damaged_one_is_refused(
    make_snn: Callable[..., SpikingUNet2DModel], tmp_path: Path
) -> None:
    run(make_snn(), tmp_path / "run")
    checkpoint = checkpoints(tmp_path / "run")[-1]
    with pytest.raises(ResumeError, match=r"another training: steps was 4 and is 6"):
        run(make_snn(), tmp_path / "run", {"resume": str(checkpoint)}, steps=6)
    weights = checkpoint / "state.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(ResumeError, match=r"damaged.*resume from another"):
        run(make_snn(), tmp_path / "run", {"resume": str(checkpoint)})


def test_a_checkpoint_cut_short_is_not_found(make_snn: Callable[..., SpikingUNet2DModel], tmp_path: Path) -> None:
    def cut(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ann2snn_diffusion.training.checkpoint.save_file", cut)
        with pytest.raises(OutputError, match=r"no checkpoint could be written at step 2.*No space left"):
            run(make_snn(), tmp_path / "run")
    assert any((tmp_path / "run").iterdir())
    with pytest.raises(ResumeError, match="no checkpoint to resume from"):
        find_checkpoint(tmp_path / "run", "latest")
    run(make_snn(), tmp_path / "run")
    assert len(checkpoints(tmp_path / "run")) == 2
