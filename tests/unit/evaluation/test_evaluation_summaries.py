"""Summaries, comparison of two runs, and the result table."""

import math

import pytest

from medpo_cli.errors import BadInputError
from medpo_cli.evaluation.comparisons import compare as compare_runs
from medpo_cli.evaluation.headline import headline, number, probability, sections, shortcuts, verdict
from medpo_cli.evaluation.measures import BY_NAME, MEASURES, WHOLE, WORDING
from medpo_cli.evaluation.statistics import holm, never_seen
from medpo_cli.evaluation.summaries import changes, summarise, summarise_runs
from medpo_cli.evaluation.text_table import table
from medpo_cli.schema.records import Interval, Score, Summary


def compare(a: list[Score], b: list[Score], resamples: int = 100) -> list[Summary]:
    return compare_runs({"A": a}, {"B": b}, resamples=resamples)


def _closed(item: str, right: int, *, arm: str = "base", group: str | None = None, profile: str = "medpo/1") -> Score:
    metrics = {"closed.items": 1.0, "closed.right": float(right), "closed.unparsed": 0.0, "closed.words": 3.0}
    return Score(id=item, group=group, task="vqa-closed", arm=arm, metrics=metrics, profile=profile)


def _report(item: str, findings: dict[str, tuple[str, str]], *, arm: str = "base") -> Score:
    """Findings as {name: (truth, said)}."""
    table = {name: {"truth": t, "said": s, "right": t == s, "errors": []} for name, (t, s) in findings.items()}
    right = float(sum(t == s for t, s in findings.values()))
    metrics = {"report.items": 1.0, "report.statements": float(len(findings)), "report.right": right}
    return Score(id=item, task="report", arm=arm, metrics=metrics, profile="medpo/1", ext={"findings": table})


def _run(rights: str, *, arm: str = "base", groups: str | None = None) -> list[Score]:
    """One item a character, 1 right and 0 wrong; groups by character."""
    return [_closed(str(k), int(right), arm=arm, group=groups[k] if groups else None) for k, right in enumerate(rights)]


def _summarise(**arms: list[Score]) -> list[Summary]:
    return summarise(arms, resamples=500, seed=1, versions={"medpo": "0"})


def test_one_summary_per_arm_then_the_difference() -> None:
    base, aligned, difference = _summarise(base=_run("0011"), aligned=_run("0111", arm="aligned"))
    assert (base.arm, base.against) == ("base", None)
    assert (difference.arm, difference.against) == ("aligned", "base")
    assert base.metrics["closed.accuracy"].value == 0.5
    assert aligned.metrics["closed.accuracy"].value == 0.75
    change = difference.metrics["closed.accuracy"]
    assert (change.value, change.n, change.fixed, change.broken) == (0.25, 4, 1, 0)
    assert change.mcnemar == 1.0  # 2 (1/2)**1
    assert change.low is not None
    assert change.low <= 0.25 <= (change.high or 0)


def test_measures_that_were_not_taken_are_left_out() -> None:
    metrics = _summarise(base=_run("01"))[0].metrics
    assert set(metrics) == {"closed.accuracy", "closed.unparsed", "closed.words"}


def test_summaries_are_deterministic() -> None:
    assert _summarise(base=_run("0110101")) == _summarise(base=_run("0110101"))


def test_nothing_gives_nothing() -> None:
    assert summarise({}, resamples=100, seed=0, versions={}) == []


def test_items_of_a_group_are_drawn_together() -> None:
    """Two groups, all right or all wrong: every draw is 0, .5 or 1, so the interval is [0, 1]."""
    metrics = _summarise(base=_run("000111", groups="aaabbb"))[0].metrics
    assert (metrics["closed.accuracy"].low, metrics["closed.accuracy"].high) == (0.0, 1.0)


def test_no_error_seen_is_not_no_error() -> None:
    metrics = _summarise(base=_run("1" * 10))[0].metrics
    assert (metrics["closed.unparsed"].low, metrics["closed.unparsed"].high) == (0.0, never_seen(10))
    assert (metrics["closed.accuracy"].low, metrics["closed.accuracy"].high) == (1 - never_seen(10), 1.0)


def test_fixed_and_broken_findings_are_counted_one_by_one() -> None:
    before = [_report("a", {"nodule": ("present", "absent"), "opacity": ("absent", "absent")})]
    after = [_report("a", {"nodule": ("present", "present"), "opacity": ("absent", "present")})]
    assert changes("report.finding_accuracy", before, after) == (1, 1)


def test_a_finding_only_one_answer_made_up_was_right_in_the_other() -> None:
    before = [_report("a", {"nodule": ("present", "present")})]
    after = [_report("a", {"nodule": ("present", "present"), "opacity": ("absent", "present")})]
    assert changes("report.finding_accuracy", before, after) == (0, 1)
    assert changes("report.finding_accuracy", after, before) == (1, 0)


def _tempted(said: list[str]) -> list[Score]:
    """Reports with A and without B that say ``said`` about B, and one where B is there."""
    scores = [_report(str(k), {"a": ("present", "present"), "b": ("absent", what)}) for k, what in enumerate(said)]
    return [*scores, _report("z", {"a": ("present", "present"), "b": ("present", "present")})]


def test_cooccurrence_counts_only_a_without_b() -> None:
    metrics = _summarise(base=_tempted(["present"] * 15 + ["contradictory"] * 5 + ["absent"] * 5))[0].metrics
    assert metrics["cooccurrence.a->b"].value == pytest.approx(20 / 25)
    assert metrics["cooccurrence.a->b"].n == 25
    assert "cooccurrence.b->a" not in metrics


def test_cooccurrence_needs_enough_items() -> None:
    assert not any("cooccurrence" in name for name in _summarise(base=_tempted(["present"] * 19))[0].metrics)


def test_compare_pairs_by_id_whatever_the_order() -> None:
    a, b = _run("0011"), _run("0111", arm="aligned")
    difference = compare(a, list(reversed(b)), resamples=200)[-1]
    assert (difference.arm, difference.against) == ("B", "A")
    assert difference.metrics["closed.accuracy"].value == 0.25
    assert difference.metrics["closed.accuracy"].fixed == 1


def test_compare_takes_the_aligned_arm_of_a_run_with_its_baseline() -> None:
    both = [*_run("0000"), *_run("1111", arm="aligned")]
    assert compare(_run("0011"), both, resamples=100)[1].metrics["closed.accuracy"].value == 1.0


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        (_run("01"), _run("011"), "ids in one run only: 0 in A, 1 in B"),
        ([*_run("01"), *_run("0")], _run("01"), "A holds an id twice"),
        (_run("01"), [_closed("0", 1), _closed("1", 1, profile="llavamed/1")], "B mixes profiles"),
        (_run("01"), [_closed("0", 1, profile="llavamed/0"), _closed("1", 1, profile="llavamed/0")], "does not know"),
        (_run("01"), [_closed(k, 1, profile="llavamed/1") for k in "01"], "under different profiles"),
        (_run("01"), [], "B holds no score record"),
        (_run("01"), [*_run("01", arm="x"), *_run("01", arm="y")], "none is called aligned"),
        (_run("01", groups="ab"), _run("01", groups="aa"), "id 1\\) was scored against different references"),
        (_run("01"), [_closed("0", 1), _report("1", {})], "different references"),
    ],
)
def test_compare_refuses(a: list[Score], b: list[Score], message: str) -> None:
    with pytest.raises(BadInputError, match=message):
        compare(a, b)


def test_compare_refuses_nan() -> None:
    bad = [Score(id="0", arm="base", metrics={"closed.items": 1.0, "closed.right": math.nan}, profile="medpo/1")]
    with pytest.raises(BadInputError, match="not a finite number"):
        compare(_run("0"), bad)


@pytest.mark.parametrize(
    ("name", "low", "high", "expected"),
    [
        ("closed.accuracy", 0.01, 0.2, "better"),
        ("closed.accuracy", -0.2, -0.01, "worse"),
        ("closed.accuracy", -0.1, 0.2, "unclear"),
        ("closed.accuracy", 0.0, 0.2, "unclear"),
        ("report.hallucination", -0.2, -0.01, "better"),
        ("report.words", 1.0, 2.0, "changed"),
        ("closed.accuracy", None, None, ""),
    ],
)
def test_verdict_needs_an_interval_without_zero(
    name: str, low: float | None, high: float | None, expected: str
) -> None:
    value = 0.0 if low is None or high is None else (low + high) / 2
    assert verdict(BY_NAME[name], Interval(value=value, n=9, low=low, high=high)) == expected


def test_names_are_unique_and_kinds_have_headings() -> None:
    assert len(BY_NAME) == len(MEASURES) + len(WHOLE) + len(WORDING)
    rows = headline(_summarise(base=_run("01")), [measure.name for measure in MEASURES])
    assert sum(len(own) for _, own in sections(rows)) == len(rows) == 3


def test_table_aligns_and_marks() -> None:
    text = table(_summarise(base=_run("0" * 20), aligned=_run("1" * 19 + "0", arm="aligned")))
    # no draw of 500 is at or below 0: p = 2 (0 + 1) / 501
    line = next(line for line in text.splitlines() if "questions right" in line)
    assert line.split() == [
        "closed", "questions", "right", "%", "20", "0.0", "95.0", "+95.0", *line.split()[8:10], ".004", "19/0", "+",
    ]  # fmt: skip
    assert text.splitlines()[1] == "Closed questions"
    assert table([]) == ""


def test_table_of_one_arm_has_no_difference() -> None:
    assert "difference" not in table(_summarise(base=_run("01")))


def test_several_arms_are_marked_against_the_first() -> None:
    arms = {"base": _run("0" * 20), "up": _run("1" * 20, arm="up"), "same": _run("0" * 20, arm="same")}
    line = next(line for line in table(_summarise(**arms)).splitlines() if "questions right" in line)
    assert line.split()[4:] == ["20", "0.0", "100.0", "+", "0.0", "="]


def test_arms_of_other_items_are_refused() -> None:
    with pytest.raises(BadInputError, match="same items"):
        _summarise(base=_run("01"), aligned=_run("011", arm="aligned"))
    with pytest.raises(BadInputError, match="same items"):
        _summarise(base=_run("01"), aligned=_run("01", arm="aligned")[::-1])


def test_drift_is_filled_in_where_answers_are_known() -> None:
    base, aligned = (
        [Score(id="a", task="report", arm=arm, metrics={"report.items": 1.0}, profile="medpo/1", answer=text)]
        for arm, text in (("base", "a b c d"), ("aligned", "a b c x"))
    )
    assert _summarise(base=base, aligned=aligned)[1].metrics["report.drift"].value == 0.25
    assert compare(base, aligned, resamples=100)[1].metrics["report.drift"].value == 0.25


def test_shortcuts_are_added_to_the_table() -> None:
    summaries = _summarise(base=_tempted(["present"] * 24))
    assert shortcuts(summaries) == ["cooccurrence.a->b"]
    assert "b asserted, given a without it" in table(summaries)
    assert "without it" not in table(summaries, extra=())


def test_numbers_as_printed() -> None:
    assert number(BY_NAME["closed.accuracy"], 0.8094) == "80.9"
    assert number(BY_NAME["closed.accuracy"], -0.0312, sign=True) == "\u22123.1"
    assert number(BY_NAME["closed.accuracy"], -0.0001, sign=True) == "0.0"
    assert number(BY_NAME["report.words"], 28.61) == "28.6"
    assert [probability(p) for p in (0.0004, 0.0312, 1.0, None)] == ["<.001", ".031", "1", ""]


def _seeds(*rows: str, arm: str = "base") -> list[list[Score]]:
    return [_run(row, arm=arm) for row in rows]


def test_several_seeds_give_their_mean_and_each_value() -> None:
    made = summarise_runs(
        {"base": _seeds("0011"), "aligned": _seeds("0111", "1111", "0011", arm="aligned")},
        resamples=500, seed=0, versions={},
    )  # fmt: skip
    base, aligned, difference = (summary.metrics["closed.accuracy"] for summary in made)
    assert base.seeds is None
    assert aligned.seeds == [0.75, 1.0, 0.5]
    assert aligned.value == 0.75
    assert difference.value == 0.25
    # several runs are never pooled into one McNemar table
    assert difference.fixed is difference.broken is difference.mcnemar is None
    assert difference.low is not None
    assert difference.low < 0.25 < (difference.high or 0)


def test_one_run_is_drawn_as_before_beside_several() -> None:
    alone = summarise({"base": _run("0110101")}, resamples=300, seed=4, versions={})[0]
    beside = summarise_runs(
        {"base": _seeds("0110101"), "b": _seeds("0110101", "1110101")}, resamples=300, seed=4, versions={}
    )
    assert beside[0].metrics["closed.accuracy"] == alone.metrics["closed.accuracy"]


def test_declared_measures_are_adjusted_and_no_others() -> None:
    arms = {"base": _seeds("0" * 30), "aligned": _seeds("1" * 12 + "0" * 18, arm="aligned")}
    names = ["closed.accuracy", "closed.unparsed", "report.omission"]
    metrics = summarise_runs(arms, resamples=400, seed=0, versions={}, declared=names)[-1].metrics
    p = {name: metrics[name].p for name in names[:2]}
    assert {name: metrics[name].p_holm for name in p} == dict(zip(p, holm(list(p.values())), strict=True))  # type: ignore[arg-type]
    assert metrics["closed.words"].p_holm is None


def test_a_calibration_error_has_an_interval_only_as_a_difference() -> None:
    def run(arm: str, shift: float) -> list[Score]:
        return [
            Score(
                id=str(k),
                task="vqa-closed",
                arm=arm,
                profile="medpo/1",
                metrics={"closed.items": 1.0, "closed.p_yes": k / 10 * shift, "closed.true_yes": float(k > 4)},
            )
            for k in range(10)
        ]

    base, aligned, difference = _summarise(base=run("base", 1.0), aligned=run("aligned", 0.5))
    for arm in (base, aligned):
        assert (arm.metrics["closed.ece"].low, arm.metrics["closed.ece"].high) == (None, None)
        assert arm.metrics["closed.aurc"].low is not None
    assert difference.metrics["closed.ece"].low is not None


def test_a_narrow_terminal_gets_a_narrow_table() -> None:
    summaries = _summarise(base=_run("0011" * 9), aligned=_run("0111" * 9, arm="aligned"))
    wide = table(summaries)
    widest = max(map(len, wide.splitlines()))
    assert table(summaries, width=widest) == wide
    narrow = table(summaries, width=80).splitlines()
    assert max(map(len, narrow)) <= 80 < widest
    assert narrow[-1] == "a wider terminal also shows n, p, fixed/broken"
    assert "fixed/broken" not in narrow[0]
    told = table(summaries, width=60)
    assert max(map(len, told.splitlines())) <= 60
    for value in ("50.0", "75.0", "+25.0"):
        assert value in told
    words = " ".join(" ".join(line.split()) for line in told.splitlines())
    assert "closed answers without a" in words


@pytest.mark.parametrize("width", [40, 64, 70, 80, 90, 100, 120])
def test_no_measure_is_lost_at_any_width(width: int) -> None:
    base = [*_run("0011" * 9), *(_report(f"r{k}", {"nodule": ("present", "absent")}) for k in range(5))]
    summaries = _summarise(base=base)
    values = sorted(value for line in table(summaries).splitlines() for value in line.split() if value[0].isdigit())
    narrow = table(summaries, width=width).splitlines()
    kept = sorted(value for line in narrow for value in line.split() if value[0].isdigit())
    assert set(kept) <= set(values)
    rows = [sum(line.startswith("  ") for line in lines) for lines in (narrow, table(summaries).splitlines())]
    assert rows[0] >= rows[1]
