"""Fact extraction against hand-labelled sentences; the blind half was never tuned on."""

import pytest
from data.labelled_facts import mistakes, read_half, score

from medpo_cli.text.lexicon import load_lexicon

LEXICON = load_lexicon()


@pytest.mark.parametrize(("half", "least"), [("tuned", 0.97), ("phrasings", 0.97), ("blind", 0.94)])
def test_labels(half: str, least: float) -> None:
    """Right labels of all that were expected or found; docs say what is reached."""
    shares = score(half, LEXICON)
    assert shares["all"].share >= least, shares


def test_both_halves_are_large_enough_and_apart() -> None:
    tuned, blind = ({one.text for one in read_half(half)} for half in ("tuned", "blind"))
    assert len(tuned) + len(blind) >= 150
    assert not tuned & blind
    shared = len({one.text for one in read_half("phrasings")} & blind)
    assert shared == 0  # a number: a failure must not print the blind half


def test_a_wrong_label_is_a_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    before = len(list(mistakes("tuned", LEXICON)))
    monkeypatch.setattr("data.labelled_facts.extract", lambda *_: [])
    assert len(list(mistakes("tuned", LEXICON))) > before


def test_the_lexicon_covers_what_the_issue_asks_for() -> None:
    assert len([one for one in LEXICON.findings.values() if not one.generic]) >= 120
