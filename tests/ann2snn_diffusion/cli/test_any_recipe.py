"""Whatever stands in a recipe: it is what the command does, or it is refused by name."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ann2snn_diffusion.cli.recipe import RecipeError, read_recipe
from ann2snn_diffusion.cli.resolve import Request, resolve
from ann2snn_diffusion.cli.tables import STAGED, TABLES
from ann2snn_diffusion.common.specs import SpecError, settings
from tests.mutations import VALUES, changes, loaded, same

PLACES = [(command, table) for command, specs in TABLES.items() for table in specs]


def as_toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return f"[{', '.join(as_toml(part) for part in value if part is not None)}]"
    if isinstance(value, dict):
        pairs = [f'"{key}" = {as_toml(part)}' for key, part in value.items() if part is not None]
        return "{" + ", ".join(pairs) + "}"
    return f'"{value}"' if isinstance(value, str) else repr(value)


@pytest.mark.parametrize(("command", "table"), PLACES)
@given(data=st.data())
def test_a_key_means_what_it_says_or_is_refused_by_name(
    tmp_path_factory: pytest.TempPathFactory, command: str, table: str, data: st.DataObject
) -> None:
    spec = TABLES[command][table]
    request = Request({}, None, {})
    names, message = [], ""
    key, value = data.draw(changes(list(settings(spec))).filter(lambda change: change[1] is not None))
    file = tmp_path_factory.getbasetemp() / "mine.toml"
    file.write_text(f"[{table}]\n{key} = {as_toml(value)}\n")
    try:
        request = Request({}, str(file), read_recipe(str(file), command))
        found = resolve(request, TABLES[command])[table]
        found = found[0] if table in STAGED else found
    except SpecError as refused:
        names = [refused.field, *refused.expected.replace("`", "").split()]  # fields that contradict each other
        message = str(refused)
        found = None
    if found is None:
        assert key in names
        assert "\n" not in message
        return
    assert key != "unheard_of"
    given_there = request.tables[table][key]
    assert same(getattr(found, key), given_there)
    others = {name: declared.default for name, declared in settings(spec).items() if name != key}
    assert {name: getattr(found, name) for name in others} == others


@given(value=VALUES.filter(lambda value: value is not None and not isinstance(value, dict)))
def test_what_stands_where_a_table_belongs_is_refused_by_name(
    tmp_path_factory: pytest.TempPathFactory, value: Any
) -> None:
    file = tmp_path_factory.getbasetemp() / "mine.toml"
    file.write_text(f"spiking = {as_toml(value)}\n")
    with pytest.raises(RecipeError, match="got spiking = "):
        read_recipe(str(file), "convert")


@given(value=VALUES.filter(lambda value: value is not None))
def test_run_s_seed_is_that_of_every_table_or_refused(tmp_path_factory: pytest.TempPathFactory, value: Any) -> None:
    file = tmp_path_factory.getbasetemp() / "mine.toml"
    file.write_text(f"[run]\nseed = {as_toml(value)}\n")
    found, line = loaded(
        lambda: resolve(Request({}, str(file), read_recipe(str(file), "finetune")), TABLES["finetune"])
    )
    if line:
        assert line.startswith("seed = ")
        return
    assert found["training"][0].seed == value
    assert isinstance(value, int)
