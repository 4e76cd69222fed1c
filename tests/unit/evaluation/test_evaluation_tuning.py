from itertools import combinations
from pathlib import Path

import pytest

from medpo_cli.errors import BadInputError, ConfigError, NoInputError
from medpo_cli.evaluation.tuning import Preferences, Table, recommend, tabulate
from medpo_cli.evaluation.utility import allowed, load_utility, written
from medpo_cli.schema.records import Trial


def trial(run: str, accuracy: float, grounding: float, seconds: float | None = 10.0, seed: int = 0) -> Trial:
    metrics = {"report.finding_accuracy": accuracy, "report.specificity": grounding}
    return Trial(run=run, seed=seed, metrics=metrics, seconds=seconds)


TRIALS = [
    trial("right", 0.9, 0.2),
    trial("grounded", 0.7, 0.8),
    trial("between", 0.85, 0.6),
    trial("beaten", 0.7, 0.7),
    trial("slow twin of right", 0.9, 0.2, seconds=20.0),
]


@pytest.fixture
def table() -> Table:
    return tabulate(TRIALS)


def test_the_front_is_what_no_other_run_beats(table: Table) -> None:
    assert [table.runs[run] for run in table.front] == ["between", "grounded", "right"]


def test_the_front_agrees_with_its_definition_on_every_pair(table: Table) -> None:
    better = [(row[0], row[1], -row[2]) for row in table.values.tolist()]
    for run in range(len(better)):
        beaten = any(
            all(x >= y for x, y in zip(other, better[run], strict=True)) and other != better[run] for other in better
        )
        assert (run in table.front) is not beaten


def test_seeds_of_a_run_are_averaged() -> None:
    table = tabulate([trial("a", 0.8, 0.5, seed=1), trial("a", 0.6, 0.3, seed=2), trial("b", 0.1, 0.1)])
    assert table.values[table.runs.index("a")].tolist() == pytest.approx([0.7, 0.4, 10.0])


def test_equal_runs_both_stay_on_the_front() -> None:
    assert tabulate([trial("a", 0.8, 0.5), trial("b", 0.8, 0.5)]).front == (0, 1)


def test_a_criterion_that_one_run_lacks_is_left_out() -> None:
    table = tabulate([trial("a", 0.8, 0.5), trial("b", 0.9, 0.4, seconds=None)])
    assert list(table.criteria) == ["accuracy", "grounding"]


def test_closed_questions_stand_in_where_there_are_no_reports() -> None:
    rows = [Trial(run=name, metrics={"closed.accuracy": value}, seconds=1) for name, value in (("a", 0.5), ("b", 0.6))]
    assert tabulate(rows).criteria == {"accuracy": "closed.accuracy", "cost": "seconds"}


def test_one_criterion_is_nothing_to_weigh() -> None:
    with pytest.raises(BadInputError, match="nothing to weigh"):
        tabulate([Trial(run=name, metrics={"closed.accuracy": 0.5}) for name in "ab"])


def test_a_seed_that_is_there_twice_is_refused() -> None:
    with pytest.raises(BadInputError, match="seed 3 of run number 2 is there twice"):
        tabulate([trial("a", 0.1, 0.1), trial("b", 0.1, 0.1, seed=3), trial("b", 0.2, 0.1, seed=3)])


def _answers(table: Table, accuracy: float, grounding: float, questions: int) -> Preferences:
    """Someone whose utility is known answers."""
    learnt = Preferences(table)
    for _ in range(questions):
        if (pair := learnt.question()) is None:
            break
        first, second = (accuracy * table.merit[run][0] + grounding * table.merit[run][1] for run in pair)
        learnt.answer(*pair, "first" if first > second else "second")
    return learnt


@pytest.mark.parametrize(
    ("accuracy", "grounding", "wanted"), [(1.0, 0.0, "right"), (0.0, 1.0, "grounded"), (0.5, 0.5, "between")]
)
def test_answers_lead_to_the_run_that_the_answerer_likes_best(
    table: Table, accuracy: float, grounding: float, wanted: str
) -> None:
    learnt = _answers(table, accuracy, grounding, 3)
    assert table.runs[recommend(table, learnt.weights, table.front)] == wanted
    assert sum(learnt.weights.values()) == pytest.approx(1)
    assert sum(learnt.chances.values()) == pytest.approx(1)


def test_each_pair_is_asked_once_and_only_of_the_front(table: Table) -> None:
    learnt, asked = Preferences(table), []
    while (pair := learnt.question()) is not None:
        asked.append(pair)
        learnt.answer(*pair, "equal")
    assert sorted(asked) == sorted(combinations(table.front, 2))


def test_the_first_question_tells_most(table: Table) -> None:
    """One bit at most: the runs that the prior weights are most divided over, by brute force over all pairs."""
    learnt = Preferences(table)
    first = learnt.question()
    names = {table.runs[run] for run in first or ()}
    assert names == {"grounded", "right"}


def test_equal_answers_pull_the_weights_together(table: Table) -> None:
    learnt = Preferences(table)
    pair = (table.runs.index("grounded"), table.runs.index("right"))
    learnt.answer(*pair, "equal")
    assert learnt.weights["accuracy"] == pytest.approx(learnt.weights["grounding"], abs=1e-9)


def test_answers_are_taken_alike_from_either_side(table: Table) -> None:
    one, other = Preferences(table), Preferences(table)
    one.answer(table.front[0], table.front[1], "first")
    other.answer(table.front[1], table.front[0], "second")
    assert one.weights == pytest.approx(other.weights)


def _utility(folder: Path, text: str) -> Path:
    path = folder / "u.toml"
    path.write_text(text)
    return path


def test_bounds_may_call_for_a_run_that_is_not_on_the_front_of_all(table: Table, tmp_path: Path) -> None:
    utility = load_utility(_utility(tmp_path, "[weights]\naccuracy = 1\n[bounds.grounding]\nmin = 0.65\nmax = 0.75\n"))
    kept = allowed(table, utility, "u.toml")
    assert [table.runs[run] for run in kept] == ["beaten"]
    assert table.runs[recommend(table, utility.weights, kept)] == "beaten"


def test_more_weight_on_a_criterion_wins(table: Table) -> None:
    assert table.runs[recommend(table, {"accuracy": 3, "grounding": 1}, table.front)] == "right"
    assert table.runs[recommend(table, {"accuracy": 1, "grounding": 3}, table.front)] == "grounded"


def test_equal_utilities_go_to_the_first_name() -> None:
    table = tabulate([trial("b", 0.8, 0.5), trial("a", 0.8, 0.5)])
    assert table.runs[recommend(table, {"accuracy": 1}, table.front)] == "a"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[weights\n", "not valid TOML"),
        ("[weights]\naccuracy = -1\n", ">= 0"),
        ("[weights]\naccuracy = 0\n", "no weight is above 0"),
        ("[weights]\nbeauty = 1\n", "accuracy.hallucination"),
        ("[weights]\naccuracy = 1\n[bound.cost]\nmax = 1\n", "unknown field"),
    ],
)
def test_bad_utilities_are_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_utility(_utility(tmp_path, text))


def test_a_missing_utility_is_said(tmp_path: Path) -> None:
    with pytest.raises(NoInputError):
        load_utility(tmp_path / "none.toml")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[weights]\ndrift = 1\n", "drift was not measured in every run"),
        ("[weights]\naccuracy = 1\n[bounds.accuracy]\nmin = 0.99\n", "no run is within the bounds"),
    ],
)
def test_utilities_that_fit_no_run_are_refused(table: Table, tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        allowed(table, load_utility(_utility(tmp_path, text)), "u.toml")


def test_learnt_weights_can_be_read_back(table: Table, tmp_path: Path) -> None:
    learnt = _answers(table, 1.0, 0.0, 2).weights
    assert dict(load_utility(_utility(tmp_path, written(learnt))).weights) == pytest.approx(learnt, abs=1e-4)
