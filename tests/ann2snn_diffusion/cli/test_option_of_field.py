import re
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from ann2snn_diffusion import cli
from ann2snn_diffusion.cli.option_of_field import WITHOUT_FLAG, fields_with_flags, shown_default
from ann2snn_diffusion.cli.tables import TABLES, CommandName
from ann2snn_diffusion.common.specs import settings


def options_of(command: str) -> dict[str, Any]:
    group: Any = typer.main.get_command(cli.app)
    return {option.name: option for option in group.commands[command].params}


@pytest.mark.parametrize("command", TABLES)
def test_every_field_has_an_option_with_its_meaning_and_default(
    monkeypatch: pytest.MonkeyPatch, command: CommandName
) -> None:
    monkeypatch.setattr("typer.rich_utils.MAX_WIDTH", 200)
    options = options_of(command)
    printed = re.sub(r"[\s│]+", " ", CliRunner().invoke(cli.app, [command, "--help"]).output)
    for spec in TABLES[command].values():
        assert settings(spec).keys() - fields_with_flags(spec).keys() <= WITHOUT_FLAG
        for name, declared in fields_with_flags(spec).items():
            assert options[name].help.startswith(re.sub("`.*", "", declared.meaning))
            assert "`" not in options[name].help
            if default := shown_default(declared):
                assert options[name].help.endswith(f"[default: {default}]")
                assert f"[default: {default}]" in printed


@pytest.mark.parametrize(
    ("command", "name", "flags", "default"),
    [
        ("convert", "time_steps", ["--time-steps"], "4"),
        ("convert", "signed_activations", ["--signed-activations", "--no-signed-activations"], "signed-activations"),
        ("convert", "correction", ["--correction"], "0.3"),
        ("convert", "segments", ["--segments"], "0,10,25,50,120,300,450,600,700,800,900"),
        ("finetune", "gradient_checkpointing", ["--gradient-checkpointing", "--no-gradient-checkpointing"],
         "no-gradient-checkpointing"),
        ("search-thresholds", "bounds", ["--bounds"], "0.9 1.1"),
        ("search-thresholds", "count", ["--count", "-n"], "0"),
        ("evaluate", "scheduler", ["--scheduler"], "ddim"),
    ],
)  # fmt: skip
def test_flags_and_defaults_are_shown_as_they_are_typed(
    command: str, name: str, flags: list[str], default: str
) -> None:
    option = options_of(command)[name]
    assert [*option.opts, *option.secondary_opts] == flags
    assert option.help.endswith(f"  [default: {default}]")


def test_help_names_choices_and_what_may_be_repeated() -> None:
    options = options_of("search-thresholds")
    choices = " One of bounded, grid, powell, nelder-mead, cobyqa, differential-evolution, direct."
    assert options["optimizer"].help.endswith(choices)
    assert options["by"].help.endswith(" One of segment, stage, kind, step. Repeatable.")
    assert "default" not in options["optimizer"].help
    assert "four times --count" in options["held_out"].help


def test_guidance_and_commands_are_left_to_recipes() -> None:
    assert not {"guidance", "commands"} & options_of("convert").keys()
