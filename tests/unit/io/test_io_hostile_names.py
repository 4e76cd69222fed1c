"""Names that attack the terminal or the log: escape codes, line ends, bytes that are no UTF-8."""

import os
from pathlib import Path

import pytest

from medpo_cli.io.log import Messages, plain

NAMES = ["\x1b[2J\x1b]0;title\x07", "a\nmedpo corrupt: error: forged", "\x9b31m", "a\u202eb", os.fsdecode(b"\xff")]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("as_json", [False, True])
def test_a_message_is_one_line_of_printable_characters(tmp_path: Path, name: str, as_json: bool) -> None:
    said: list[str] = []
    messages = Messages("corrupt", log_file=tmp_path / "log", as_json=as_json, emit=said.append)
    messages("warning", f"{name}.jsonl:3: bad")
    (line,) = said
    assert line.isprintable()
    assert (tmp_path / "log").read_bytes().count(b"\n") == 1


def test_ordinary_names_stay_as_they_are() -> None:
    assert plain("Übersicht für Ärzte 研究.jsonl:3: gut") == "Übersicht für Ärzte 研究.jsonl:3: gut"
