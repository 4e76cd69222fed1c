"""The search for planted words finds them: a search that finds nothing would pass every test."""

import base64
import gzip
import json
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest
from data.planted import Planted

WRITINGS: dict[str, Callable[[str], bytes]] = {
    "plain": str.encode,
    "lower case": lambda word: word.lower().encode(),
    "json": lambda word: json.dumps({"é": f'"{word}"'}).encode(),
    "url": lambda word: quote(f"a b/{word}").encode(),
    "utf-16": lambda word: word.encode("utf-16"),
    "hex": lambda word: word.encode().hex().encode(),
    "gzip": lambda word: gzip.compress(b"x" * 99 + word.encode()),
    "base64 at 0": lambda word: base64.b64encode(f"abc{word}def".encode()),
    "base64 at 1": lambda word: base64.b64encode(f"a{word}".encode()),
    "base64 at 2": lambda word: base64.b64encode(f"ab{word}d".encode()),
    "data uri": lambda word: b'src="data:image/png;base64,' + base64.b64encode(word.encode("utf-16-le") * 2) + b'"',
}


@pytest.mark.parametrize("writing", WRITINGS)
def test_a_word_is_found_however_it_is_written(writing: str) -> None:
    planted = Planted()
    first, second = planted("first"), planted("second")
    assert planted.found(WRITINGS[writing](first)) == {"first"}
    assert planted.found(WRITINGS[writing](second)) == {"second"}
    assert planted.found(b"neither") == set()


def test_names_and_bytes_of_files_are_searched(tmp_path: Path) -> None:
    planted = Planted()
    (tmp_path / planted("folder")).mkdir()
    (tmp_path / "spared").mkdir()
    (tmp_path / "spared" / "x").write_text(planted("spared"))
    (tmp_path / "y").write_text(planted("bytes"))
    found = planted.found_under(tmp_path, without=(tmp_path / "spared",))
    assert sorted(map(sorted, found.values())) == [["bytes"], ["folder"]]
