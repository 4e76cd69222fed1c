"""Fact extraction against 303 hand-labelled sentences of another author; the blind half was never looked at.

The bounds are what is reached, so that a rule that loses labels is noticed; the goal is 0.95.
"""

import pytest
from data import labelled_facts as phrasings
from data.labelled_score import score

from medpo_cli.text.facts import extract
from medpo_cli.text.lexicon import load_lexicon

LEXICON = load_lexicon()


@pytest.mark.parametrize(("half", "statements", "labels"), [("tuned", 0.92, 0.88), ("blind", 0.87, 0.83)])
def test_labels(half: str, statements: float, labels: float) -> None:
    """Right labels of all that were expected or found."""
    found = score(half, lambda text: extract(text, LEXICON))  # type: ignore[arg-type]
    assert found["statements"].share() >= statements, str(found["statements"])
    assert found["labels"].share() >= labels, str(found["labels"])


@pytest.mark.parametrize(("name", "least"), [("own_tuned", 0.97), ("own_blind", 0.95), ("phrasings", 0.97)])
def test_sentences_of_the_rules_own_author(name: str, least: float) -> None:
    """163 sentences, the blind half written before the rules; and one sentence for each class of phrasing."""
    found = phrasings.score(name, LEXICON)["all"]
    assert found.share >= least, found


def test_the_lexicon_covers_what_the_issue_asks_for() -> None:
    assert len([one for one in LEXICON.findings.values() if not one.generic]) >= 120
