"""The lexicon: what is built in, what a user may add, and how a wrong file is refused."""

from pathlib import Path

import pytest

from medpo_cli.errors import ConfigError
from medpo_cli.text.facts import extract
from medpo_cli.text.lexicon import load_lexicon

EXTRA = """
name = "mine"
version = "1"

[findings.azygos_lobe]
name = "azygos lobe"
terms = ["azygos lobe", "accessory lobe"]

[attributes.severity]
small = ["wee"]
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "extra.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_built_in_findings_hold_the_demo_and_ordinary_chest_words() -> None:
    lexicon = load_lexicon()
    assert {"cardiomegaly", "nodule", "opacity", "pleural_effusion", "pneumothorax"} <= set(lexicon.findings)
    assert len(lexicon.findings) >= 35


def test_the_built_in_lexicon_is_read_once() -> None:
    assert load_lexicon() is load_lexicon()


def test_an_extra_file_adds_findings_and_words_and_changes_the_digest(tmp_path: Path) -> None:
    lexicon = load_lexicon(write(tmp_path, EXTRA))
    facts = extract("There is a wee left azygos lobe. No effusion.", lexicon)
    assert [(fact.finding, fact.status, fact.severity) for fact in facts] == [
        ("azygos_lobe", "present", "small"),
        ("pleural_effusion", "absent", None),
    ]
    assert lexicon.digest != load_lexicon().digest
    assert lexicon.digest == load_lexicon(write(tmp_path, EXTRA)).digest


def test_swap_words_are_surface_forms_that_the_attribute_table_knows() -> None:
    """Each swap must change the value, or the counterfactual would state the same."""
    lexicon = load_lexicon()
    for name in ("side", "location", "severity", "change"):
        table = getattr(lexicon.attributes, name)
        value = {phrase: key for key, phrases in table.items() for phrase in phrases}
        for word, others in {**getattr(lexicon.swaps, name)}.items():
            for other in others:
                assert value[word] != value[other], (name, word, other)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("name = 1\nversion = '1'", "name"),
        ("version = '1'", "name"),
        ("name = 'x'\nversion = '1'\nlanguage = 'de'", "language"),
        ("name = 'x'\nversion = '1'\n[findings.a]\nname = 'a'\nterns = ['b']", "findings.a"),
        ("name = 'x'\nversion = '1'\n[findings.a]\nname = 'a'\nterms = []", "findings.a"),
        ("name = 'x'\nversion = '1'\n[findings.a]\nname = 'a'\nterms = ['effusion']", "findings.a.terms"),
        ("name = 'x'\nversion = '1'\n[findings.a]\nname = 'a'\nterms = ['---']", "finding"),
        ("name = 'x'\nversion = '1'\nfindings = 3", "findings"),
        ("name = 'x'\nversion = '1'\n[cues]\nbreaker = ['but']", "cues"),
        ("name = 'x'\nversion = '1'\n[swaps.side]\nleft = 'right'", "swaps"),
        ("name = 'x'\nversion = '1'\n[colours]\nred = ['red']", "colours"),
        (
            "name='x'\nversion='1'\n[[normality]]\nfindings=['a']\nsubjects=['b']\nnormal=['c']\nabnormal=['d']",
            "normality",
        ),
        ("name = ", "TOML"),
        ("name='x'\nversion='1'\n[attributes.colour]\nred = ['red']", "extra.toml: attributes.*colour"),
        ("name='x'\nversion='1'\n[findings.a]\nname='a'\nterms=['b', 'b']", "extra.toml: findings.a.terms: b"),
        ("name='x'\nversion='1'\n[findings.a]\nname='a'\nterms=['effusion']", "extra.toml: findings.a.terms: effusion"),
        ("name='x'\nversion='1'\n[findings.a]\nname='a'\nterms=['b']\nlocations=['nowhere']", "a.locations: nowhere"),
        ("name='x'\nversion='1'\n[findings.a]\nname='a'\nterms=['b']\nseverities=['awful']", "a.severities: awful"),
        ("name='x'\nversion='1'\n[findings.a]\nname='a'\nterms=['b']\nelsewhere={moon='mass'}", "no organ moon"),
    ],
)
def test_a_wrong_file_is_refused_and_the_key_is_named(tmp_path: Path, text: str, named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        load_lexicon(write(tmp_path, text))


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load_lexicon(tmp_path / "none.toml")


def test_a_users_term_is_read_in_plural_and_british_spelling_and_between_attributes(tmp_path: Path) -> None:
    extra = """name = "x"
version = "1"
[findings.a]
name = "tumor of the esophageal wall"
terms = ["wall tumor of the esophagus"]
"""
    lexicon = load_lexicon(write(tmp_path, extra))
    for text in (
        "Wall tumor of the esophagus.",
        "Wall tumours of the oesophagus.",
        "Wall tumor of the distal esophagus.",
    ):
        assert [fact.finding for fact in extract(text, lexicon)] == ["a"], text


def test_all_domains_are_built_in() -> None:
    some = {
        "bronchiectasis",
        "midline_shift",
        "appendicitis",
        "iabp",
        "pulmonary_embolism",
        "thyroid_nodule",
        "hydroureter",
    }
    assert some <= set(load_lexicon().findings)
