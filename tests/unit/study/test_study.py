"""The committed numbers, the page and the recipe of the studies agree with each other."""

import tomllib
from pathlib import Path

import msgspec
import pytest

from medpo_cli.io.stream import read_file
from medpo_cli.schema.config import AlignConfig
from medpo_cli.schema.records import Trial
from medpo_cli.training.objectives.methods import resolve

ROOT = Path(__file__).parents[3]
RESULTS = ROOT / "docs" / "results"


@pytest.fixture(autouse=True)
def _scripts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))


def trials() -> list[Trial]:
    return list(read_file(RESULTS / "search.jsonl", Trial))


def test_the_page_is_what_the_committed_numbers_make(tmp_path: Path) -> None:
    from study.page import write_page

    folder = tmp_path / "results"
    folder.mkdir()
    for path in RESULTS.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    write_page(tmp_path)
    assert (tmp_path / "results.md").read_text() == (ROOT / "docs" / "results.md").read_text()
    assert "{{" not in (tmp_path / "results.md").read_text()


def test_the_recipe_is_the_best_trial_of_the_search() -> None:
    from study.recipe import recipe
    from study.search import chosen

    best = chosen(trials())
    text = (ROOT / "recipes" / "medpo.toml").read_text()
    assert text == recipe(best)
    align = (best.settings or {})["align"]
    assert tomllib.loads(text)["align"]["terms"] == align["terms"]
    composed = msgspec.convert({"terms": align["terms"]}, AlignConfig).terms
    assert len(resolve("fire-mpo", composed=composed)) == len(align["terms"])


def test_the_recipe_needs_no_image_that_only_phantoms_have() -> None:
    from study.search import chosen

    assert (chosen(trials()).settings or {})["pairs"] != "pairs.twin.jsonl"


def test_mixes_are_drawn_once_each_and_always_the_same() -> None:
    from study.search import drawn

    mixes = drawn(40)
    assert all(mix not in mixes[:place] for place, mix in enumerate(mixes))
    assert drawn(7) == mixes[:7]


def test_neighbours_differ_in_one_respect() -> None:
    from study.search import SPACE, drawn, neighbours, plain

    mix = next(one for one in drawn(40) if one["visual"] != "none" and one["kl"])
    for other in neighbours(mix):
        changed = [name for name in SPACE if other[name] != mix[name]]
        gone = {"visual": "none", "kl": 0.0}
        assert len(changed) == 1 or any(other[name] == value for name, value in gone.items())
        assert plain(other) == other


def test_trials_were_never_scored_on_seeds_or_arms_twice() -> None:
    named = [(trial.run, trial.seed) for trial in trials()]
    assert len(set(named)) == len(named)
    assert all(seed >= 100 for _, seed in named)


def trial(run: str, accuracy: float, specificity: float, pairs: str = "pairs.v.jsonl") -> Trial:
    metrics = {"report.finding_accuracy": accuracy, "report.specificity": specificity}
    return Trial(run=run, metrics=metrics, settings={"pairs": pairs, "align": {"terms": []}})


def test_mixes_above_the_floor_are_ranked_by_accuracy_and_stand_before_the_others() -> None:
    from study.search import ranked

    found = [
        trial("less specific", 0.99, 0.4),
        trial("right", 0.9, 0.6),
        trial("specific", 0.8, 0.7),
        trial("least specific", 0.95, 0.3),
        trial("oracle", 1.0, 1.0, "pairs.twin.jsonl"),
    ]
    assert [one.run for one in ranked(found, 0.5)] == ["right", "specific", "less specific", "least specific"]
