from pathlib import Path

from ann2snn_diffusion.workflows.finetune import training_seconds


def test_the_seconds_of_steps_done_twice_count_once(tmp_path: Path) -> None:
    lines = ['{"step": 1, "seconds": 2.0}', '{"step": 2, "seconds": 5.0}', '{"step": 2, "seconds": 3.0}']
    (tmp_path / "loss.jsonl").write_text("\n".join(lines) + "\n")
    assert training_seconds(tmp_path) == 5
