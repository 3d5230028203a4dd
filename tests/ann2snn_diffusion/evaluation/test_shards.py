from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import PartialState
from diffusers import DDIMScheduler, UNet2DModel
from safetensors.torch import save_file

from ann2snn_diffusion.common.atomic_output import OutputError
from ann2snn_diffusion.common.progress import idle
from ann2snn_diffusion.diffusion.sampling import Drawing, sample
from ann2snn_diffusion.evaluation import shards
from ann2snn_diffusion.evaluation.shards import draw_shards, read_shards, shard_files


class OneOf(PartialState):
    """A process that believes to be one of several and need not wait for them."""

    def __init__(self, index: int, processes: int) -> None:
        super().__init__(cpu=True)
        self.__dict__ = dict(self.__dict__) | {"process_index": index, "num_processes": processes}

    def wait_for_everyone(self) -> None:
        pass


@pytest.fixture
def scheduler() -> DDIMScheduler:
    return DDIMScheduler()


def draw(
    folder: Path, unet: UNet2DModel, scheduler: Any, count: int, process: PartialState | None = None, seed: int = 0
) -> dict[int, Path]:
    drawing = Drawing(count, 2, seed, 3)
    files = shard_files(folder, unet, scheduler, drawing)
    draw_shards(files, unet, scheduler, drawing, process or PartialState(cpu=True), lambda _: idle)
    return files


def test_shards_hold_the_images_of_a_plain_run(tmp_path: Path, unet: UNet2DModel, scheduler: DDIMScheduler) -> None:
    files = draw(tmp_path, unet, scheduler, 7, seed=5)
    images = read_shards(files)
    expected = sample(unet, scheduler, Drawing(7, 2, seed=5, batch_size=3))
    assert torch.equal(images, (expected * 255).round().to(torch.uint8))
    assert list(files) == [0, 3, 6]


def test_several_processes_draw_the_same_files_as_one(
    tmp_path: Path, unet: UNet2DModel, scheduler: DDIMScheduler
) -> None:
    alone = draw(tmp_path / "one", unet, scheduler, 8)
    first = draw(tmp_path / "two", unet, scheduler, 8, OneOf(0, 2))
    assert [file.exists() for file in first.values()] == [True, False, True]
    draw(tmp_path / "two", unet, scheduler, 8, OneOf(0, 1))
    assert torch.equal(read_shards(alone), read_shards(first))


def test_finished_shards_are_not_drawn_again(
    tmp_path: Path, unet: UNet2DModel, scheduler: DDIMScheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw(tmp_path, unet, scheduler, 6)
    seeds: list[int] = []

    def watched(*arguments: Any) -> torch.Tensor:
        seeds.append(arguments[2].seed)
        return sample(*arguments)

    monkeypatch.setattr(shards, "sample", watched)
    draw(tmp_path, unet, scheduler, 9)
    assert seeds == [6]


def test_images_of_other_weights_schedulers_or_seeds_are_kept_apart(
    tmp_path: Path, unet: UNet2DModel, scheduler: DDIMScheduler
) -> None:
    def folder(steps: int = 2, seed: int = 0, scheduler: Any = scheduler) -> str:
        return shard_files(tmp_path, unet, scheduler, Drawing(3, steps, seed, 3))[0].parent.name

    names = {folder(), folder(steps=3), folder(seed=1), folder(scheduler=DDIMScheduler(beta_end=0.03))}
    unet.conv_in.weight.data += 1
    assert len(names | {folder()}) == 5
    assert folder() == folder()


def test_a_damaged_shard_is_named(tmp_path: Path, unet: UNet2DModel, scheduler: DDIMScheduler) -> None:
    files = draw(tmp_path, unet, scheduler, 4)
    files[3].write_bytes(files[3].read_bytes()[:40])
    with pytest.raises(OutputError, match=r"000003-000004\.safetensors is damaged; delete it"):
        read_shards(files)


def test_a_run_that_was_cut_off_leaves_no_half_shard(
    tmp_path: Path, unet: UNet2DModel, scheduler: DDIMScheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: object, file: Path) -> None:
        file.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(shards, "save_file", fail)
    with pytest.raises(KeyboardInterrupt):
        draw(tmp_path, unet, scheduler, 3)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


@pytest.mark.parametrize("images", [torch.zeros(1, 1, 8, 8), torch.zeros(1, 1, 4, 8).byte(), torch.zeros(3).byte()])
def test_a_shard_of_another_shape_or_type_is_named(tmp_path: Path, images: torch.Tensor) -> None:
    files = {index: tmp_path / f"{index}.safetensors" for index in range(2)}
    save_file({"images": torch.zeros(1, 1, 8, 8).byte()}, files[0])
    save_file({"images": images}, files[1])
    with pytest.raises(OutputError, match=r"1\.safetensors is damaged; delete it"):
        read_shards(files)
