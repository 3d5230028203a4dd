import re
from pathlib import Path
from typing import Any

import pytest
from diffusers import UNet2DModel

from ann2snn_diffusion.models.unet_config import refuse_wrong_types
from ann2snn_diffusion.spiking.unet import SourceError

FILE = Path("unet/config.json")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("act_fn", 0.5), ("freq_shift", ""), ("downsample_padding", 0.5), ("block_out_channels", [8, "x"]),
        ("block_out_channels", []),
        ("in_channels", 2**70), ("norm_eps", float("nan")), ("sample_size", -1), ("add_attention", "no"),
        ("down_block_types", "DownBlock2D"), ("time_embedding_type", "sinus"), ("time_embedding_type", []),
    ],
)  # fmt: skip
def test_a_value_of_another_type_is_refused_with_its_field(unet: UNet2DModel, field: str, value: Any) -> None:
    with pytest.raises(SourceError, match=re.escape(f"unet/config.json: {field} = {value!r}: expected ")):
        refuse_wrong_types(FILE, dict(unet.config) | {field: value})


@pytest.mark.parametrize(
    "change",
    [
        {}, {"sample_size": [8, 16]}, {"sample_size": None}, {"attention_head_dim": None}, {"norm_eps": 0},
        {"norm_num_groups": None},
    ],
)  # fmt: skip
def test_what_a_unet_may_have_is_not_refused(unet: UNet2DModel, change: dict[str, Any]) -> None:
    config = {name: list(value) if isinstance(value, tuple) else value for name, value in unet.config.items()}
    refuse_wrong_types(FILE, config | change)
