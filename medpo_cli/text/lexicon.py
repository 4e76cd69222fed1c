"""The clinical words: findings, cues, attributes and swap tables, read from TOML and checked.

``common.toml`` holds what every domain shares; each other file of the folder ``lexicon/`` adds
findings. A user's file has the same form and adds to them or replaces entries.
"""

import hashlib
from collections import Counter
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from medpo_cli.errors import ConfigError
from medpo_cli.io.toml import parse_toml
from medpo_cli.text.entries import Attributes, Cues, Finding, Head, Normality, Share, Swaps, Table
from medpo_cli.text.phrases import index_of, single_words

FOLDER = Path(__file__).parent / "lexicon"


class Lexicon:
    """A checked lexicon, ready to scan with.

    Attributes:
        findings: finding id -> entry.
        normality: subjects and predicates.
        cues, attributes, swaps, closed_sets, organs, urgency: as in the file.
        index: the tree of all phrases, word by word.
        passed: words that may stand between those of a finding ("enlarged left hilum").
        digest: sha256 hex over the merged content.
    """

    def __init__(self, content: Mapping[str, Any]) -> None:
        self.findings: dict[str, Finding] = dict(content["findings"])
        self.normality: list[Normality] = [_with_nouns(one, content["cues"]) for one in content["normality"]]
        self.cues: Cues = content["cues"]
        self.attributes: Attributes = content["attributes"]
        self.swaps: Swaps = content["swaps"]
        self.closed_sets: dict[str, Table] = dict(content["closed_sets"])
        self.organs: dict[str, list[str]] = dict(content["organs"])
        self.urgency: dict[str, float] = dict(content["urgency"])
        self.digest = hashlib.sha256(msgspec.json.encode(content, order="sorted")).hexdigest()
        self.verbs = frozenset(self.cues.verbs)
        _check_names(self.findings, self.normality, self.organs)
        _check_values(self.findings, self.attributes)
        if unknown := sorted(self.urgency.keys() - self.findings.keys()):
            raise ConfigError(f"lexicon: urgency.{unknown[0]}: no such finding")
        self.index = index_of(self)
        self.attribute_parts = self.attributes.__struct_fields__
        self.passed = frozenset((*self.cues.passed, *self.cues.adverbs)) | single_words(self.attributes)


def load_lexicon(extra: Path | None = None) -> Lexicon:
    """The built-in lexicon, with a user's file on top.

    Raises:
        ConfigError: the file is missing, no TOML, or an entry is wrong; names the key path.
    """
    if extra is None:
        return _built_in()
    over = _read(Path(extra))
    try:
        return Lexicon(_merge(_built_in_content(), over))
    except ConfigError as error:  # what is wrong only beside the built-in words
        raise ConfigError(f"lexicon {Path(extra).name}: {str(error).removeprefix('lexicon: ')}") from None


def is_finding(label: str) -> bool:
    """Whether a label is a finding of the built-in lexicon, as id or with spaces.

    Labels of records are free text: only these may be said in a message or stand on a page without texts.
    """
    return label.lower().replace(" ", "_") in _built_in().findings


@cache
def _built_in() -> Lexicon:
    return Lexicon(_built_in_content())


def _built_in_content() -> dict[str, Any]:
    content: dict[str, Any] = {
        "findings": {},
        "normality": [],
        "cues": Cues(),
        "attributes": Attributes(),
        "swaps": Swaps(),
        "closed_sets": {},
        "organs": {},
        "urgency": {},
    }
    for path in sorted(FOLDER.glob("*.toml")):
        content = _merge(content, _read(path))
    return content


def _read(path: Path) -> dict[str, Any]:
    """Parse and check one file; keys of the result are those of ``_built_in_content``."""
    try:
        raw = parse_toml(path.read_bytes(), f"lexicon {path.name}")
    except OSError as error:
        raise ConfigError(f"lexicon {path.name}: cannot be read") from error
    _convert({key: raw.pop(key) for key in ("name", "version", "language") if key in raw}, Head, path, "")
    findings = _table(raw.pop("findings", {}), path, "findings")
    normality = raw.pop("normality", [])
    content = {
        "findings": {key: _convert(value, Finding, path, f"findings.{key}") for key, value in findings.items()},
        "normality": _convert(normality, list[Normality], path, "normality"),
        "cues": _convert(raw.pop("cues", {}), Cues, path, "cues"),
        "attributes": _convert(raw.pop("attributes", {}), Attributes, path, "attributes"),
        "swaps": _convert(raw.pop("swaps", {}), Swaps, path, "swaps"),
        "closed_sets": _convert(raw.pop("closed_sets", {}), dict[str, Table], path, "closed_sets"),
        "organs": _convert(raw.pop("organs", {}), Table, path, "organs"),
        "urgency": _convert(raw.pop("urgency", {}), dict[str, Share], path, "urgency"),
    }
    if raw:
        raise ConfigError(f"lexicon {path.name}: unknown key {min(raw)}; known: {', '.join(content)}")
    return content


def _table(value: Any, path: Path, key: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ConfigError(f"lexicon {path.name}: {key}: must be a table")
    return value


def _convert(value: Any, kind: Any, path: Path, key: str) -> Any:
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise ConfigError(f"lexicon {path.name}: {key or 'head'}: {error}") from error


def _merge(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """Entries of ``over`` are added; findings of the same id are replaced, phrase lists joined."""
    return {
        "findings": {**base["findings"], **over["findings"]},
        "normality": [*base["normality"], *over["normality"]],
        "cues": _joined(base["cues"], over["cues"]),
        "attributes": _joined(base["attributes"], over["attributes"]),
        "swaps": _joined(base["swaps"], over["swaps"]),
        "closed_sets": {**base["closed_sets"], **over["closed_sets"]},
        "organs": _lists(base["organs"], over["organs"]),
        "urgency": {**base["urgency"], **over["urgency"]},
    }


def _check_names(findings: Mapping[str, Finding], normality: list[Normality], organs: Mapping[str, object]) -> None:
    """Normality and ``elsewhere`` name findings and organs that exist, in this file or another."""
    for number, entry in enumerate(normality):
        for finding_id in entry.findings:
            if finding_id not in findings:
                raise ConfigError(f"lexicon: normality[{number}].findings: no finding {finding_id}")
    for key, finding in findings.items():
        for organ, other in finding.elsewhere.items():
            if organ not in organs:
                raise ConfigError(f"lexicon: findings.{key}.elsewhere: no organ {organ}")
            if other not in findings:
                raise ConfigError(f"lexicon: findings.{key}.elsewhere.{organ}: no finding {other}")


def _check_values(findings: Mapping[str, Finding], attributes: Attributes) -> None:
    """Terms stand once, and a made-up finding gets places and grades that can be read back."""
    for key, finding in findings.items():
        twice = [term for term, count in Counter(finding.terms).items() if count > 1]
        if twice:
            raise ConfigError(f"lexicon: findings.{key}.terms: {twice[0]} stands there twice")
        for name, part in (("locations", "location"), ("severities", "severity")):
            table: Table = getattr(attributes, part)
            known = {phrase for phrases in table.values() for phrase in phrases}
            for value in getattr(finding, name):
                if value not in known:
                    raise ConfigError(f"lexicon: findings.{key}.{name}: {value} is not in attributes.{part}")


def _joined(base: Any, over: Any) -> Any:
    """Field by field: lists are joined, tables merged with their lists joined."""
    values: dict[str, Any] = {}
    for field in base.__struct_fields__:
        first, second = getattr(base, field), getattr(over, field)
        if isinstance(first, list):
            values[field] = [*first, *second]
        else:
            values[field] = _lists(first, second)
    return type(base)(**values)


def _lists(first: Mapping[str, list[str]], second: Mapping[str, list[str]]) -> dict[str, list[str]]:
    return {key: [*first.get(key, []), *second.get(key, [])] for key in {**first, **second}}


def _with_nouns(entry: Normality, cues: Cues) -> Normality:
    """The entry with its abnormal predicates as nouns too: "enlarged", "enlargement"."""
    nouns = [noun for word in entry.abnormal for noun in cues.nouns.get(word, [])]
    return msgspec.structs.replace(entry, abnormal=[*entry.abnormal, *nouns])
