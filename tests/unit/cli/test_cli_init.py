"""``medpo init``: what it writes is a configuration, commented lines and all."""

import re
import tomllib
from pathlib import Path

import pytest

from medpo_cli.cli import init
from medpo_cli.cli.recipe import files, shelf
from medpo_cli.cli.settings import STAGES, check_file, resolve
from medpo_cli.errors import CannotCreateError, NoInputError, UnavailableError, UsageError

SETTING = re.compile(r"^# (\w+ = )", re.MULTILINE)


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def written(recipe: str = "", model: str = "", *, everything: bool = False) -> str:
    init.run(Path("medpo.toml"), model, "", recipe, everything=everything, force=True)
    return Path("medpo.toml").read_text()


@pytest.mark.parametrize("everything", [False, True])
def test_the_file_holds_for_every_stage(everything: bool) -> None:
    written(everything=everything)
    for name, kind in STAGES.items():
        resolved = resolve(name, kind, {"model": "m"} if hasattr(kind, "model") else {}, None)
        assert (
            resolved.stage == resolve(name, kind, {"model": "m"} if hasattr(kind, "model") else {}, "/dev/null").stage
        )
        assert resolved.input == init.INPUTS.get(name, ("",))[0]


@pytest.mark.parametrize("everything", [False, True])
def test_a_comment_taken_away_leaves_the_built_in_value(everything: bool) -> None:
    bare = SETTING.sub(r"\1", written(everything=everything))
    Path("medpo.toml").write_text(bare)
    check_file(tomllib.loads(bare), "medpo.toml")
    for name, kind in STAGES.items():
        assert resolve(name, kind, {"model": "m"}, None).stage == resolve(name, kind, {"model": "m"}, "/dev/null").stage


def test_all_shows_every_setting_that_has_a_value() -> None:
    from msgspec.structs import fields

    shown = tomllib.loads(SETTING.sub(r"\1", written(everything=True)))
    wanted = {field.name for field in fields(STAGES["align"]) if field.default is not None} - {"model", *init.SHARED}
    assert wanted <= set(shown["align"])
    assert len(written().splitlines()) < 80


@pytest.mark.parametrize("recipe", [name for name in files(shelf()) if name.endswith(".toml") and "/" not in name])
def test_a_recipe_is_taken_over_whole(recipe: str) -> None:
    text = written(recipe.removesuffix(".toml"))
    for name, kind in STAGES.items():
        flags = {"model": "m"}
        ours, theirs = (resolve(name, kind, flags, path) for path in (None, str(shelf() / recipe)))
        assert ours.stage == theirs.stage, name
        assert ours.stream.require_end
    assert recipe.removesuffix(".toml") in text


def test_a_model_is_checked_and_written(demo_model: Path) -> None:
    assert tomllib.loads(written(model=str(demo_model)))["model"] == str(demo_model)
    with pytest.raises(UnavailableError):
        written(model="nowhere")


def test_what_is_there_is_not_written_over() -> None:
    written()
    with pytest.raises(CannotCreateError, match="--force"):
        init.run(Path("medpo.toml"), "", "", "", everything=False, force=False)


def test_cases_and_recipes_must_exist() -> None:
    with pytest.raises(NoInputError, match=r"none\.jsonl"):
        init.run(Path("a.toml"), "", "none.jsonl", "", everything=False, force=False)
    with pytest.raises(NoInputError, match="did you mean"):
        init.run(Path("a.toml"), "", "", "qlora12gb", everything=False, force=False)
    assert not Path("a.toml").exists()


def test_the_next_steps_name_what_is_missing(capsys: pytest.CaptureFixture[str]) -> None:
    written()
    said = capsys.readouterr().err
    assert "name your model in medpo.toml" in said
    assert "medpo import FORMAT FILE -o cases.jsonl" in said
    Path("mine.jsonl").write_text("")
    init.run(Path("b.toml"), "", "mine.jsonl", "", everything=False, force=False)
    said = capsys.readouterr().err
    assert "import" not in said
    assert "medpo sample --config b.toml -o samples.jsonl" in said
    assert tomllib.loads(Path("b.toml").read_text())["sample"]["input"] == "mine.jsonl"


@pytest.mark.parametrize("name", ["nightly.sh", "operations/gate", "operations/gate.toml"])
def test_what_holds_no_settings_is_no_recipe_to_take_over(name: str) -> None:
    with pytest.raises(UsageError, match="holds no settings of stages"):
        written(name)
