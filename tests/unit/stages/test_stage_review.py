"""Verdicts taken back to pairs: what passes, what is rejected, and which files are refused."""

from pathlib import Path

import msgspec
import pytest

from medpo_cli.errors import BadInputError, MedpoError, NoInputError, RecordError
from medpo_cli.io.context import Context
from medpo_cli.schema.config import EditConfig
from medpo_cli.schema.records import ImageRef, Pair, Span
from medpo_cli.stages.audit import text_digest
from medpo_cli.stages.review import read_review, run

TRUTH = "Left effusion."


def pair(name: str, **more: object) -> Pair:
    return Pair(
        id=name, image=ImageRef(path="x.png"), prompt="SECRET prompt", reference=TRUTH, task="report", chosen=TRUTH,
        rejected="Right effusion.", origin="counterfactual", ext={"kept": [1]},
        spans=[Span(kind="side", chosen=(0, 4), rejected=(0, 5), source="t")], **more,
    )  # fmt: skip


PAIRS = [pair(name) for name in ("a.0.0", "b.0.0", "c.0.0", "1.2.3", "-x")]


def review(folder: Path, content: str | bytes, pairs: list[Pair] = PAIRS) -> tuple[list[Pair], list[tuple[str, str]]]:
    path = folder / "audit.csv"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    rejects: list[tuple[str, str]] = []
    context = Context(reject=lambda name, error: rejects.append((str(name), error.reason)))
    return list(run(pairs, EditConfig(apply_review=str(path)), context)), rejects


def test_rejected_pairs_go_and_all_others_stay_as_they_are(tmp_path: Path) -> None:
    kept, rejects = review(tmp_path, "id,verdict\na.0.0,accept\nb.0.0,reject\nc.0.0,unsure\n1.2.3,\n")
    assert kept == [PAIRS[0], *PAIRS[2:]]
    assert rejects == [("b.0.0", "review")]
    assert [msgspec.json.encode(one) for one in kept] == [msgspec.json.encode(one) for one in [PAIRS[0], *PAIRS[2:]]]


def test_counts_and_the_files_hash_go_to_the_manifest(tmp_path: Path) -> None:
    path = tmp_path / "audit.csv"
    path.write_text("id,verdict\na.0.0,accept\nb.0.0,reject\n")
    context = Context(reject=lambda _name, _error: None)
    list(run(PAIRS, EditConfig(apply_review=str(path)), context))
    assert context.facts["review"] == "1 accept, 1 reject, 0 unsure, 3 not judged"
    assert len(context.facts["review_sha256"]) == 64


@pytest.mark.parametrize(
    "content",
    [
        "\ufeffid,verdict\r\nb.0.0,reject\r\n",
        "id;verdict;comment\nb.0.0;reject;a, b\n",
        "verdict\tcomment\tid\nreject\t\tb.0.0\n",
        '"ID","Verdict","Comment"\n"b.0.0"," REJECT ","two\nlines"\n',
        "id,verdict\n\n'b.0.0,Reject\n,\n",
        "id,verdict\na.0.0\nb.0.0,reject,surplus\n",
        "id,verdict\nb.0.0,reject".encode("utf-16"),
    ],
)
def test_what_spreadsheets_write_is_read(tmp_path: Path, content: str | bytes) -> None:
    """Marks, delimiters by country, capitals, column order, blank and short rows, UTF-16."""
    kept, rejects = review(tmp_path, content)
    assert rejects == [("b.0.0", "review")]
    assert len(kept) == 4


def test_protected_ids_are_those_of_the_records(tmp_path: Path) -> None:
    _, rejects = review(tmp_path, "id,verdict\n'1.2.3,reject\n'-x,reject\n")
    assert rejects == [("1.2.3", "review"), ("-x", "review")]


BAD = {
    "a verdict of its own": ("id,verdict\na.0.0,SECRET\n", "row 2: the verdict is none of accept, reject, unsure"),
    "the same id twice": ("id,verdict\na.0.0,accept\nb.0.0,\na.0.0,reject\n", "row 4: the same id as row 2"),
    "twice, once protected": ("id,verdict\na.0.0,accept\n'a.0.0,accept\n", "row 3: the same id as row 2"),
    "a verdict without an id": ("id,verdict\n,reject\n", "row 2: no id"),
    "an id that no pair has": ("id,verdict\na.0.0,\nSECRET,\n", "pairs that are not in the input: row 3"),
    "many such ids": (
        "id,verdict\n" + "".join(f"SECRET{n},\n" for n in range(9)),
        "not in the input: rows 2, 3, 4, 5, 6 and 4 more",
    ),
    "no verdict column": ("id,comment\na.0.0,reject\n", "must name the columns id and verdict, once each"),
    "two verdict columns": ("id,verdict,verdict\na.0.0,reject,accept\n", "columns id and verdict, once each"),
    "nothing": ("", "must name the columns id and verdict"),
    "an open quote": ('id,verdict\n"a.0.0,reject\n', "not a CSV table"),
    "another encoding": ("id,verdict,comment\na.0.0,reject,Größe\n".encode("latin-1"), "is not UTF-8"),
    "a picture": (b"\x89PNG\r\n\x1a\n\0\0", "is not UTF-8"),
    "broken UTF-16": (b"\xff\xfei", "is not UTF-8"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_no_review_is_refused_and_never_quoted(tmp_path: Path, case: str) -> None:
    content, message = BAD[case]
    with pytest.raises(BadInputError) as caught:
        review(tmp_path, content)
    assert message in str(caught.value)
    assert "audit.csv" in str(caught.value)
    assert "SECRET" not in str(caught.value)


def test_a_verdict_about_other_texts_is_refused(tmp_path: Path) -> None:
    """The pairs were made anew since: the id is the same, the edit may be another."""
    digest = text_digest(PAIRS[1])
    _, rejects = review(tmp_path, f"id,verdict,digest\nb.0.0,reject,{digest}\n")
    assert rejects == [("b.0.0", "review")]
    changed = [msgspec.structs.replace(one, rejected="Right effusion!") for one in PAIRS]
    with pytest.raises(BadInputError, match="row 2: the pair has other texts"):
        review(tmp_path, f"id,verdict,digest\nb.0.0,reject,{digest}\n", changed)


def test_a_missing_file_and_a_folder_are_errors(tmp_path: Path) -> None:
    with pytest.raises(NoInputError, match="not found"):
        read_review(tmp_path / "none.csv")
    with pytest.raises(MedpoError, match="directory"):
        read_review(tmp_path)


def test_a_bad_review_is_refused_before_the_first_record(tmp_path: Path) -> None:
    def untouched() -> None:
        raise AssertionError("a record was read")
        yield

    (tmp_path / "audit.csv").write_text("id,verdict\na.0.0,maybe\n")
    with pytest.raises(BadInputError):
        list(run(untouched(), EditConfig(apply_review=str(tmp_path / "audit.csv")), Context()))


def test_from_python_a_rejected_pair_is_an_exception(tmp_path: Path) -> None:
    (tmp_path / "audit.csv").write_text("id,verdict\na.0.0,reject\n")
    with pytest.raises(RecordError) as caught:
        list(run(PAIRS, EditConfig(apply_review=str(tmp_path / "audit.csv")), Context()))
    assert caught.value.reason == "review"
