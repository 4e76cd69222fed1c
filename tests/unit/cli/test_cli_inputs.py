"""How many records will come, before they are read."""

import io
import os
from pathlib import Path

import pytest

from medpo_cli.cli import inputs
from medpo_cli.cli.inputs import records_in

END = b'{"schema":"medpo.end/1","records":2}\n'
LINE = b'{"schema":"medpo.case/1"}\n'


@pytest.mark.parametrize("chunk", [7, 64, 2**20])
@pytest.mark.parametrize(
    ("data", "count"),
    [(b"", 0), (LINE, 1), (LINE[:-1], 1), (LINE * 5 + END, 5), (LINE * 5 + END[:-1], 5), (END, 0), (LINE + b"\n", 2)],
)
def test_lines_without_the_end_record(data: bytes, count: int, chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inputs, "CHUNK", max(chunk, len(END)))
    stream = io.BytesIO(data)
    assert records_in(stream) == count
    assert stream.read() == data, "nothing was consumed"


def test_what_was_read_already_is_not_expected(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(LINE * 3 + END)
    with (tmp_path / "x").open("rb") as stream:
        stream.readline()
        assert records_in(stream) == 2
        assert stream.readline() == LINE


def test_a_pipe_does_not_tell() -> None:
    ours, theirs = os.pipe()
    with os.fdopen(ours, "rb") as stream, os.fdopen(theirs, "wb") as other:
        other.write(LINE)
        other.flush()
        assert records_in(stream) is None
        assert stream.readline() == LINE
