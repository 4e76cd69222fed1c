import tomllib
from pathlib import Path

import msgspec
import pytest

from medpo_cli.cli.settings import STAGES, check_file, resolve
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


def test_there_are_recipes() -> None:
    assert {"paper", "dpo", "rrpo", "mask-dpo", "sft", "qlora-24gb", "qlora-12gb"} <= {path.stem for path in RECIPES}
