from pathlib import Path

import pytest

from ann2snn_diffusion.cli.recipe import RecipeError, read_recipe, recipes
from ann2snn_diffusion.cli.resolve import Request, resolve
from ann2snn_diffusion.cli.tables import TABLES


def written(tmp_path: Path, text: str) -> str:
    file = tmp_path / "mine.toml"
    file.write_text(text)
    return str(file)


def test_recipes_are_found_by_name_and_are_for_the_commands_of_their_first_line() -> None:
    assert recipes()
    for name, path in recipes().items():
        opening = path.read_text().splitlines()[0]
        assert opening.startswith("# a2s convert ")
        assert opening.endswith(f"--recipe {name}")
        named = [part.split()[1] for part in opening.removeprefix("# ").split(" && ") if f"--recipe {name}" in part]
        assert named
        for command in named:
            tables = read_recipe(name, command)
            assert tables.keys() & TABLES[command].keys()
            assert resolve(Request({}, name, tables), TABLES[command])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("= 4", "not readable as TOML"),
        ("[spikes]", r"expected tables among \[run\], \[spiking\], .*; got \[spikes\]"),
        ("spiking = 5", "got spiking = 5"),
        ("[search]\nsteps = 5", r"mine.toml: a2s convert has no use for \[search\]; remove that table, or name"),
        ('[run]\ncommands = ["convert"]\n[search]', r"a2s convert has no use for \[search\]"),
        ('[run]\ncommands = ["finetune", "evaluate"]', "is for a2s finetune and a2s evaluate, not for a2s convert"),
        ('[run]\ncommands = ["sample"]', r"mine.toml \[run\] commands = \['sample'\]: expected a list, each one of"),
        ('[run]\ncommands = "convert"', "commands = 'convert': expected a list"),
    ],
)
def test_a_recipe_that_is_not_for_this_command_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        read_recipe(written(tmp_path, text), "convert")


def test_a_recipe_may_have_stages_of_training_and_of_nothing_else(tmp_path: Path) -> None:
    text = '[run]\ncommands = ["convert", "finetune"]\n[[training]]\nsteps = 5\n[[training]]\nsteps = 7\n'
    assert read_recipe(written(tmp_path, text), "finetune")["training"] == [{"steps": 5}, {"steps": 7}]
    assert "training" not in read_recipe(written(tmp_path, text), "convert")
    for text, message in {
        "[[training]]\nsteps = 5\n[[training]]": r"mine.toml: stage 2 of \[\[training\]\] is empty; give its `steps`",
        "training = []": r"got training = \[\]",
        "training = [{steps = 5}, 7]": r"got training = \[\{'steps': 5\}, 7\]",
        "[[run]]\nseed = 1": r"got run = \[\{'seed': 1\}\]",
    }.items():
        with pytest.raises(RecipeError, match=message):
            read_recipe(written(tmp_path, text), "finetune")


def test_a_recipe_for_several_commands_gives_each_its_own_tables(tmp_path: Path) -> None:
    text = '[run]\nseed = 3\ncommands = ["convert", "evaluate"]\n[spiking]\nleak = 1.0\n[evaluation]\ncount = 5\n'
    recipe = written(tmp_path, text)
    assert read_recipe(recipe, "convert").keys() == {"run", "spiking"}
    assert read_recipe(recipe, "evaluate").keys() == {"run", "evaluation"}


def test_an_unknown_name_is_refused_with_those_that_are_known() -> None:
    with pytest.raises(RecipeError, match=r"absent: no such file or recipe; recipes are .*fashion-mnist"):
        read_recipe("absent", "convert")
