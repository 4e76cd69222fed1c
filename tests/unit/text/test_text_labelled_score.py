"""The labelled sentences are well formed and their scorer counts as it says."""

from collections import Counter

from data.labelled_score import ATTRIBUTES, DOMAINS, Score, labels, rows, score

ALL = rows("tuned") + rows("blind")


def test_the_halves_are_equal_in_size_and_share_no_sentence() -> None:
    assert [Counter(row["domain"] for row in rows(half)) for half in ("tuned", "blind")] == [
        {"cxr": 57, "ct": 31, "brain": 30, "abdomen": 33},
        {"cxr": 57, "ct": 31, "brain": 31, "abdomen": 33},
    ]
    assert len({row["text"] for row in ALL}) == len({row["id"] for row in ALL}) == len(ALL)


def test_rows_hold_only_what_the_readme_names() -> None:
    for row in ALL:
        assert row["domain"] in DOMAINS
        for fact in row["facts"]:
            assert set(fact) <= {"finding", "status", *ATTRIBUTES}
            assert fact["status"] in {"present", "absent", "uncertain"}
            assert fact.get("side") in {None, "left", "right", "both"}
            assert fact.get("change") in {None, "new", "increased", "decreased", "unchanged", "resolved"}
            assert fact.get("severity") in {None, "trace", "small", "mild", "moderate", "large", "severe"}


def test_the_truth_itself_scores_one_and_silence_nought() -> None:
    truth = {row["text"]: row["facts"] for row in ALL}
    for half in ("tuned", "blind"):
        assert score(half, truth.__getitem__)["labels"].share() == 1
        assert score(half, lambda _text: [])["labels"].share() == 0


def test_one_wrong_side_costs_a_missing_and_a_surplus_label() -> None:
    """Truth: effusion present, side left, severity small; found: side right. Right 2 (head, severity) of 4."""
    left = labels([{"finding": "pleural_effusion", "status": "present", "side": "left", "severity": "small"}])
    right = labels([{"finding": "pleural_effusion", "status": "present", "side": "right", "severity": "small"}])
    assert left[0] == right[0] == {("pleural_effusion", "present")}
    assert len(left[1] & right[1]) == 1
    assert len(left[1] | right[1]) == 3


def test_kind_and_course_of_an_absent_finding_do_not_count() -> None:
    absent = {"finding": "nodule", "status": "absent", "texture": "solid"}
    assert labels([absent | {"change": "new"}])[1] == labels([absent | {"change": "resolved"}])[1] == set()
    assert Score().share() == 1


def test_labelled_words_are_compared_as_the_lexicon_has_them() -> None:
    said = {
        "finding": "infarct",
        "status": "present",
        "severity": "mild",
        "location": "basal-ganglia",
        "change": "unchanged",
    }
    has = {
        "finding": "infarct",
        "status": "present",
        "severity": "small",
        "location": "basal_ganglia",
        "change": "stable",
    }
    assert labels([said]) == labels([has])
