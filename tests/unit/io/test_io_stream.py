import io
import json
import math

import pytest

from medpo_cli.errors import BadInputError, RecordError
from medpo_cli.io.stream import RecordReader, decode, describe, encode, read_all
from medpo_cli.schema.records import Case, ImageRef, Sample, Step

CASE = b'{"schema":"medpo.case/1","id":"%s","image":{"path":"x.png"},"prompt":"secret text","task":"report"}\n'
END = b'{"schema":"medpo.end/1","stage":"s","run":"r","records":1,"rejected":0}\n'


def read(data: bytes, accept: tuple[type, ...] = (Case,)) -> tuple[list[object], list[tuple[int, str]], RecordReader]:
    rejects: list[tuple[int, str]] = []
    reader = RecordReader(io.BytesIO(data), "in.jsonl", accept, lambda line, _id, e: rejects.append((line, e.reason)))
    return list(reader), rejects, reader


def test_reads_records_and_notices_the_end() -> None:
    records, rejects, reader = read(CASE % b"a" + CASE % b"b" + END)
    assert [record.id for record in records] == ["a", "b"]  # type: ignore[attr-defined]
    assert rejects == []
    assert reader.complete
    assert (reader.line_of("a"), reader.line_of("b"), reader.line_of("z")) == (1, 2, reader.line)


@pytest.mark.parametrize("cut", [0, len(CASE % b"a"), len(CASE % b"a") + 30])
def test_a_cut_off_stream_is_not_complete(cut: int) -> None:
    assert not read((CASE % b"a" + CASE % b"b" + END)[:cut])[2].complete


def test_records_after_the_end_need_another_end() -> None:
    assert not read(CASE % b"a" + END + CASE % b"b")[2].complete
    assert read(CASE % b"a" + END + CASE % b"b" + END)[2].complete


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"{", "not-json"),
        (b"", "not-json"),
        (b"null", "bad-record"),
        (b"\xff\xfe", "not-json"),
        (b"NaN", "not-json"),
        (b"[]", "bad-record"),
        (b'{"schema":"medpo.case/2"}', "bad-record"),
        (b'{"id":"a"}', "bad-record"),
        (CASE.strip() % b"a" + b"}", "not-json"),
        ((CASE % b"q").replace(b'"id"', b'"idd"').strip(), "bad-record"),
        ((CASE % b"q").replace(b'"task"', b'"prompt":"2","task"').strip(), "duplicate-key"),
        (
            (CASE % b"q").replace(b'"task"', b'"ext":' + b'{"a":' * 2000 + b"1" + b"}" * 2000 + b',"task"').strip(),
            "too-deep",
        ),
        (END.replace(b"end/1", b"step/1").strip(), "bad-record"),
    ],
)
def test_bad_lines_are_rejected_with_their_number_and_the_rest_is_read(line: bytes, reason: str) -> None:
    records, rejects, _ = read(CASE % b"a" + line + b"\n" + CASE % b"z" + END)
    assert [record.id for record in records] == ["a", "z"]  # type: ignore[attr-defined]
    assert [number for number, _ in rejects] == [2]
    assert rejects[0][1] == reason


def test_wrong_kind_and_duplicate_id() -> None:
    _, rejects, _ = read(CASE % b"a" + CASE % b"a" + END)
    assert rejects == [(2, "duplicate-id")]
    _, rejects, _ = read(CASE % b"a" + END, accept=(Sample,))
    assert rejects == [(1, "wrong-kind")]


KEYS = (b"secret text", b"a - at `$.secret", b"a` - at `$.secret", b"prompt` - at `$.image[0].secret")


def test_messages_never_quote_the_record() -> None:
    keys = [(CASE % b"a").replace(b'"task"', b'"%s":1,"task"' % key) for key in KEYS]
    keys += [(CASE % b"a").replace(b'"path"', b'"%s":1,"path"' % key) for key in KEYS]
    values = [(CASE % b"a").replace(b"report", b"secret text"), b'{"schema":"secret text"}']
    for line in (CASE % b"secret text", *values, *keys):
        with pytest.raises(RecordError) as caught:
            decode(line)
        assert "secret" not in str(caught.value) + str(caught.value.path)


@pytest.mark.parametrize(
    ("old", "new", "path", "message"),
    [
        (b'"prompt"', b'"promt"', "$", "unknown field; did you mean prompt?"),
        (b'"path"', b'"pth"', "$.image", "unknown field; did you mean path?"),
        (b'"path"', b'"zzzz"', "$.image", "unknown field"),
        (b'"x.png"', b"7", "$.image.path", "Expected `str`, got `int`"),
    ],
)
def test_an_unknown_field_is_told_by_its_nearest_known_one(old: bytes, new: bytes, path: str, message: str) -> None:
    with pytest.raises(RecordError) as caught:
        decode((CASE % b"a").replace(old, new))
    assert (caught.value.path, caught.value.message) == (path, message)


def test_nan_is_never_written() -> None:
    step = Step(
        step=1, epoch=0, loss=math.nan, terms={}, rewards={}, margin=0, accuracy=0, grad_norm=0, lr=0, tokens=0,
        seconds=0, peak_bytes=0,
    )  # fmt: skip
    with pytest.raises(ValueError, match="not finite"):
        encode(step)
    case = Case(id="a", image=ImageRef(path="x"), prompt="null", task="report", ext={"x": None})
    assert json.loads(encode(case))["ext"] == {"x": None}


def test_trusted_files_raise_with_file_and_line() -> None:
    with pytest.raises(BadInputError, match=r"f\.jsonl:2"):
        list(read_all(io.BytesIO(CASE % b"a" + b"x\n"), "f.jsonl", (Case,)))


def test_description_names_everything_but_the_contents() -> None:
    error = RecordError("file-not-found", "file not found under the root", "$.regions[0].mask")
    assert describe("pairs.jsonl", 17, "3f2a", error) == (
        "pairs.jsonl:17 (id 3f2a): $.regions[0].mask: file not found under the root"
    )
