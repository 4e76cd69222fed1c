import tomllib
from pathlib import Path
from typing import get_args

import msgspec
import pytest

from medpo_cli.cli.settings import STAGES, check_file, resolve
from medpo_cli.schema.config import Method
from medpo_cli.schema.objectives import AnyTerm

RECIPES = sorted((Path(__file__).parents[3] / "recipes").glob("*.toml"))


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
@pytest.mark.parametrize("stage", STAGES)
def test_every_recipe_loads_for_every_stage(recipe: Path, stage: str) -> None:
    resolved = resolve(
        stage, STAGES[stage], {"model": "m"} if stage in ("sample", "align", "eval") else {}, str(recipe)
    )
    assert resolved.stream.require_end
    table = tomllib.loads(recipe.read_text()).get(stage, {})
    for key, value in table.items():
        assert msgspec.to_builtins(getattr(resolved.stage, key)) == value or key == "terms"


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_recipes_of_align_name_terms_that_their_method_has(recipe: Path) -> None:
    from medpo_cli.training.objectives.methods import resolve as terms_of

    table = tomllib.loads(recipe.read_text())["align"]
    keys = ("beta", "gamma", "alpha", "kl_forward", "kl_scope", "nll", "papo")
    composed = msgspec.convert(table["terms"], list[AnyTerm]) if "terms" in table else None
    given = {key: table[key] for key in keys if key in table}
    assert terms_of(table.get("method", "fire-mpo"), composed=composed, **given)
    check_file(tomllib.loads(recipe.read_text()), recipe.name)


def test_every_method_has_a_recipe_and_every_recipe_is_listed() -> None:
    tables = {path.stem: tomllib.loads(path.read_text())["align"] for path in RECIPES}
    named = {table.get("method", "fire-mpo") for table in tables.values() if "terms" not in table}
    assert named == set(get_args(Method))
    listed = (RECIPES[0].parent / "README.md").read_text()
    assert [name for name in tables if f"]({name}.toml)" not in listed] == []


@pytest.mark.parametrize("name", ["perpo", "s-dpo", "p3o"])
def test_methods_of_rankings_draw_several_answers_and_rank_them(name: str) -> None:
    tables = tomllib.loads((RECIPES[0].parent / f"{name}.toml").read_text())
    assert tables["sample"]["n"] >= 2
    assert tables["sample"]["temperature"] > 0
    assert tables["edit"]["emit"] == "ranking"


def test_there_are_recipes() -> None:
    assert {"paper", "dpo", "rrpo", "mask-dpo", "sft", "qlora-24gb", "qlora-12gb"} <= {path.stem for path in RECIPES}
