"""Probes from facts: what a report settles, and what it leaves open."""

import pytest

from medpo_cli.text.answers import commitment
from medpo_cli.text.draw import Draw
from medpo_cli.text.facts import extract
from medpo_cli.text.lexicon import load_lexicon
from medpo_cli.text.probes import Settled, attributes, existence, settled

LEXICON = load_lexicon()


def read(text: str) -> Settled:
    return settled(text, extract(text, LEXICON), LEXICON)


def about(text: str, finding: str) -> dict[str, tuple[str, str]]:
    found = attributes(finding, extract(text, LEXICON), LEXICON, Draw(0))
    return {probe.kind: (probe.true, probe.adversarial) for probe in found}


@pytest.mark.parametrize(
    ("text", "present", "absent"),
    [
        ("Small left pleural effusion. No pneumothorax.", ("pleural_effusion",), {"pneumothorax"}),
        ("The heart is normal in size. There is a nodule.", ("nodule",), {"cardiomegaly"}),
        ("No right pleural effusion.", (), set()),  # says nothing about the left
        ("No large pneumothorax.", (), set()),
        ("No new nodule.", (), set()),
        ("No nodule in the upper lobe.", (), set()),
        ("No significant pneumothorax. No obvious nodule.", (), set()),
        ("No focal opacity.", (), {"opacity"}),
        ("No bilateral pleural effusion.", (), {"pleural_effusion"}),
        ("Possible pneumonia.", (), set()),
        ("Small left pleural effusion. No right pleural effusion.", ("pleural_effusion",), set()),
        ("There is a pleural effusion. No pleural effusion.", (), set()),  # contradicts itself
        ("", (), set()),
    ],
)
def test_only_what_is_said_without_doubt_or_limit_is_settled(
    text: str, present: tuple[str, ...], absent: set[str]
) -> None:
    found = read(text)
    assert found.present == present
    assert found.absent & {"pleural_effusion", "pneumothorax", "nodule", "opacity", "cardiomegaly"} == absent


def test_what_nobody_mentions_is_not_absent() -> None:
    found = read("There is a nodule.")
    assert "pneumothorax" not in found.absent | found.named


def test_generic_words_settle_nothing() -> None:
    generic = [name for name, entry in LEXICON.findings.items() if entry.generic]
    assert generic
    assert not read("There is a lesion. No cyst.").named & set(generic)


def test_every_finding_of_the_lexicon_can_be_asked_about_and_read_back() -> None:
    for finding, entry in LEXICON.findings.items():
        if not entry.generic:
            probe = existence(finding, finding, LEXICON)
            assert {fact.finding for fact in extract(probe.true, LEXICON, question=True)} == {finding}, probe.true
            assert commitment(probe.true) is None


def test_names_have_the_article_of_their_statements() -> None:
    probe = existence("opacity", "cardiomegaly", LEXICON)
    assert probe.true == "Is there an opacity in this image?"
    assert probe.adversarial == "Is there cardiomegaly in this image?"


def test_attributes_are_asked_against_another_value() -> None:
    found = about("There is a small nodule in the left upper zone.", "nodule")
    assert found["side"] == ("Is the nodule on the left?", "Is the nodule on the right?")
    assert found["severity"] == ("Is the nodule small?", "Is the nodule large?")
    assert found["location"][0] == "Is the nodule in the upper zone?"
    assert found["location"][1] in ("Is the nodule in the middle zone?", "Is the nodule in the lower zone?")
    assert about("There is mild cardiomegaly.", "cardiomegaly") == {
        "severity": ("Is the cardiomegaly mild?", "Is the cardiomegaly severe?")
    }


@pytest.mark.parametrize(
    "text",
    [
        "There is a nodule.",
        "Bilateral nodules.",
        "Nodule in the left lung. Nodule in the right lung.",
        "Nodule in the left lung. Another nodule is seen.",  # whose side is open
        "Possible nodule in the left lung.",
        "No nodule on the left.",
    ],
)
def test_no_side_is_asked_for_where_the_statements_do_not_agree(text: str) -> None:
    assert "side" not in about(text, "nodule")


def test_degrees_without_an_opposite_are_not_asked_for() -> None:
    assert "severity" not in about("There is a moderate left pleural effusion.", "pleural_effusion")


def test_the_other_location_is_drawn_by_seed() -> None:
    facts = extract("There is a nodule in the left upper zone.", LEXICON)
    drawn = {attributes("nodule", facts, LEXICON, Draw(seed))[1].adversarial for seed in range(20)}
    assert len(drawn) == 2
