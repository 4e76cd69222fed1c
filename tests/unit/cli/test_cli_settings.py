from pathlib import Path

import pytest

from medpo_cli.cli.settings import Resolved, resolve
from medpo_cli.cli.stages import demo_model
from medpo_cli.errors import ConfigError, NoInputError, UsageError
from medpo_cli.io.log import Messages
from medpo_cli.schema.config import EditConfig, EvalConfig, SampleConfig


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def edit(flags: dict[str, object] | None = None, config: str | None = None) -> Resolved[EditConfig]:
    return resolve("edit", EditConfig, flags or {}, config)


def test_precedence_flag_over_environment_over_file_over_built_in(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (edit().stage.seed, edit().sources["seed"]) == (0, "built-in")
    Path("medpo.toml").write_text("seed = 1\n")
    assert (edit().stage.seed, edit().sources["seed"]) == (1, "medpo.toml seed")
    Path("medpo.toml").write_text("seed = 1\n[edit]\nseed = 2\n")
    assert (edit().stage.seed, edit().sources["seed"]) == (2, "medpo.toml [edit] seed")
    monkeypatch.setenv("MEDPO_SEED", "3")
    assert (edit().stage.seed, edit().sources["seed"]) == (3, "MEDPO_SEED")
    monkeypatch.setenv("MEDPO_EDIT_SEED", "4")
    assert (edit().stage.seed, edit().sources["seed"]) == (4, "MEDPO_EDIT_SEED")
    resolved = edit({"seed": 5, "balance": None})
    assert (resolved.stage.seed, resolved.sources["seed"]) == (5, "--seed")


def test_one_stage_does_not_see_the_table_of_another() -> None:
    Path("medpo.toml").write_text('model = "m"\n[sample]\nn = 3\ntemperature = 1.0\ninput = "c.jsonl"\n')
    sample = resolve("sample", SampleConfig, {}, None)
    assert (sample.stage.model, sample.stage.n, sample.input) == ("m", 3, "c.jsonl")
    assert edit().input == ""


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('input = "x.jsonl"', r"input belongs to one stage: write it under a table such as \[sample\]"),
        ("sede = 1", r"medpo\.toml: unknown key sede; did you mean seed\?"),
        ("[edit]\nper_sampel = 1", r"unknown key per_sampel in \[edit\]; did you mean per_sample\?"),
        ("[edti]\nseed = 1", r"unknown table \[edti\]; did you mean \[edit\]\?"),
        ('seed = "1"', r"medpo\.toml seed: Expected `int`"),
        ("[edit]\nnormality_cap = 2.0", r"\[edit\] normality_cap: Expected `float` <= 1"),
        ("seed = = 1", r"medpo\.toml: "),
    ],
)
def test_bad_files_name_key_and_cure(text: str, message: str) -> None:
    Path("medpo.toml").write_text(text)
    with pytest.raises(ConfigError, match=message):
        edit()


def test_bad_variables_and_flags(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="--seed"):
        edit({"seed": -1})
    monkeypatch.setenv("MEDPO_SED", "1")
    with pytest.raises(ConfigError, match="did you mean MEDPO_SEED"):
        edit()
    monkeypatch.delenv("MEDPO_SED")
    monkeypatch.setenv("MEDPO_SEED", "many")
    with pytest.raises(ConfigError, match="MEDPO_SEED"):
        edit()


def test_a_named_configuration_must_exist() -> None:
    with pytest.raises(NoInputError):
        edit(config="nowhere.toml")


def test_scientific_numbers_in_toml_are_numbers() -> None:
    from medpo_cli.schema.config import AlignConfig

    Path("medpo.toml").write_text("[align]\nlr = 1e-6\n")
    assert resolve("align", AlignConfig, {}, None).stage.lr == 1e-6


def test_print_config_lines_are_toml_with_sources() -> None:
    import tomllib

    lines = edit({"seed": 9}).lines()
    assert tomllib.loads("\n".join(lines))["seed"] == 9
    assert next(line for line in lines if line.startswith("seed")).endswith("# --seed")


def test_printed_configuration_can_be_pasted_back() -> None:
    from medpo_cli.schema.config import AlignConfig

    lines = resolve("align", AlignConfig, {"model": "m"}, None).lines()
    assert any(line.startswith("# gamma") for line in lines)
    Path("medpo.toml").write_text("[align]\n" + "\n".join(lines))
    assert resolve("align", AlignConfig, {}, None).stage.gamma is None


def test_the_embedded_model_brings_its_objective_only_where_none_is_named() -> None:
    from medpo_cli.schema.config import AlignConfig

    def align(flags: dict[str, object] | None = None) -> AlignConfig:
        return resolve("align", AlignConfig, flags or {}, None).stage

    assert (align().gamma, align().nll, align().lr, align({"beta": 0.2}).beta) == (0.5, 4.0, 1e-3, 0.2)
    named = align({"method": "kto"})
    assert (named.beta, named.gamma, named.alpha, named.nll, named.lr) == (None, None, None, None, 1e-3)
    Path("medpo.toml").write_text('[[align.terms]]\nkind = "nll"\n')
    assert (align().gamma, align().nll, align().rank) == (None, None, 16)
    assert align({"model": "m"}).lr == 1e-5


@pytest.mark.parametrize("stage", ["sample", "edit", "corrupt", "align", "eval"])
def test_help_on_80_columns_cuts_nothing_off(stage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import typer
    from typer.testing import CliRunner

    from medpo_cli.cli.stage import command
    from medpo_cli.cli.stages import STAGES

    monkeypatch.setattr("typer.rich_utils.MAX_WIDTH", 80)
    app = typer.Typer()
    app.command(stage)(command(STAGES[stage], "help"))
    shown = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "80", "TERMINAL_WIDTH": "80"}).stdout
    assert "--print-config" in shown
    assert "…" not in shown


def test_a_judge_does_not_answer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The endpoint of eval judges: the embedded model still answers, with its own settings."""
    monkeypatch.chdir(tmp_path)
    flags = {"judge": "http", "endpoint": "http://127.0.0.1:1/v1"}
    settings = resolve("eval", EvalConfig, flags, None)
    assert (settings.stage.batch, settings.sources["batch"]) == (64, "embedded demo")
    assert demo_model(settings, Messages("eval", quiet=True)).model.endswith("phantom-llava")
    sampling = resolve("sample", SampleConfig, {"endpoint": "http://127.0.0.1:1/v1"}, None)
    assert demo_model(sampling, Messages("sample", quiet=True)).model == ""
