"""TOML of strangers: a recipe, a gate, a lexicon that attacks its reader."""

from pathlib import Path

import pytest

from medpo_cli.cli.settings import resolve
from medpo_cli.errors import ConfigError
from medpo_cli.evaluation.gate import load_gate
from medpo_cli.evaluation.utility import load_utility
from medpo_cli.io.toml import LARGEST, parse_toml
from medpo_cli.schema.config import CorruptConfig
from medpo_cli.text.lexicon import load_lexicon

HOSTILE = {
    "nested lists": (b"a = " + b"[" * 100_000 + b"]" * 100_000, "nested too deeply"),
    "nested tables": (b"a = " + b"{a=" * 50_000 + b"1" + b"}" * 50_000, "nested too deeply"),
    "a dotted key": (b"a" + b".a" * 100_000 + b" = 1", "nested too deeply"),
    "a dotted table": (b"[a" + b".a" * 100_000 + b"]", "nested too deeply"),
    "not UTF-8": (b"a = '\xff'", "not valid TOML"),
    "UTF-16": ("a = 1".encode("utf-16"), "not valid TOML"),
    "zero bytes": (b"a = '\0'", "not valid TOML"),
    "the same key twice": (b"a = 1\na = 2", "not valid TOML"),
    "large": (b"#" * (LARGEST + 1), "larger than 4 MiB"),
    "many digits": (b"a = " + b"9" * 10_000, "not valid TOML"),
}


@pytest.mark.parametrize("attack", HOSTILE)
def test_hostile_toml_is_refused_in_one_line(attack: str) -> None:
    data, said = HOSTILE[attack]
    with pytest.raises(ConfigError, match=rf"^x\.toml: {said}") as caught:
        parse_toml(data, "x.toml")
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("attack", ["nested lists", "not UTF-8"])
def test_every_reader_of_toml_refuses_it(tmp_path: Path, attack: str) -> None:
    path = tmp_path / "x.toml"
    path.write_bytes(HOSTILE[attack][0])
    readers = (
        lambda: resolve("corrupt", CorruptConfig, {}, str(path)),
        lambda: load_gate(path),
        lambda: load_utility(path),
        lambda: load_lexicon(path),
    )
    for read in readers:
        with pytest.raises(ConfigError, match=HOSTILE[attack][1]) as caught:
            read()
        assert str(tmp_path) not in str(caught.value)


def test_a_folder_in_place_of_a_gate_names_no_place(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_gate(tmp_path)
    assert str(tmp_path.parent) not in str(caught.value)
