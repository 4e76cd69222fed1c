"""Rows of other tools, one small example in each tool's shape: taken over, refused with a reason, written back."""

import json
from pathlib import Path
from typing import Any

import pytest

from medpo_cli.errors import BadInputError
from medpo_cli.io.context import Context
from medpo_cli.schema.records import Case, Pair
from medpo_cli.stages.foreign.exporting import EXPORTS
from medpo_cli.stages.foreign.importing import run
from medpo_cli.stages.foreign.rows import rows
from medpo_cli.text.anchors import undo

ASKED = "Which side is the effusion on?"
GOOD, BAD = "There is a small left pleural effusion.", "There is a small right pleural effusion."

PAIR_ROWS: dict[str, dict[str, Any]] = {
    "fire-mpo": {
        "id": 7, "qid": 3, "prompt": f"<image>\n{ASKED}", "image_path": "a.png", "was_correct": False,
        "chosen": "There is a small <mask>left</mask> pleural effusion.",
        "rejected": "There is a small <mask>right</mask> pleural effusion.",
    },
    "rrpo": {
        "sample_id": 0, "question": f"<image>\n{ASKED}", "answer": GOOD, "pred": BAD, "image": "a.png",
        "answer_masked": "There is a small <MASK> left </MASK> pleural effusion.",
        "pred_masked": "There is a small <MASK> right </MASK> pleural effusion.", "src": "x",
    },
    "rlhf-v": {
        "idx": 5, "image_path": "a.png",
        "text": json.dumps({"question": ASKED, "chosen": GOOD, "rejected": BAD}),
    },
    "mmedpo": {
        "id": "m1", "image": "a.png", "weighted_score": 0.75,
        "conversations": [{"from": "human", "value": f"<image>\n{ASKED}"}, {"from": "gpt", "value": GOOD}],
        "rejected_conversations": [{"from": "human", "value": ASKED}, {"from": "gpt", "value": BAD}],
    },
    "trl": {
        "images": ["a.png"],
        "prompt": [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": ASKED}]}],
        "chosen": [{"role": "assistant", "content": GOOD}], "rejected": [{"role": "assistant", "content": BAD}],
    },
    "llama-factory": {
        "conversations": [{"from": "human", "value": f"<image>{ASKED}"}], "images": ["a.png"],
        "chosen": {"from": "gpt", "value": GOOD}, "rejected": {"from": "gpt", "value": BAD},
    },
    "ms-swift": {
        "messages": [{"role": "user", "content": f"<image>{ASKED}"}, {"role": "assistant", "content": GOOD}],
        "images": ["a.png"], "rejected_response": BAD,
    },
}  # fmt: skip


def taken(
    name: str, *given: Any, images: str = ""
) -> tuple[list[Pair | Case], list[tuple[str | None, str, str | None]]]:
    rejects: list[tuple[str | None, str, str | None]] = []
    context = Context(reject=lambda row, error: rejects.append((row, error.reason, error.path)))
    return list(run(enumerate(given, start=1), name, context, images=images)), rejects


@pytest.mark.parametrize("name", PAIR_ROWS)
def test_each_format_gives_the_same_pair(name: str) -> None:
    (pair,), rejects = taken(name, PAIR_ROWS[name])
    assert rejects == []
    assert isinstance(pair, Pair)
    assert (pair.prompt, pair.chosen, pair.rejected) == (ASKED, GOOD, BAD)
    assert pair.images[0].path == "a.png"
    (span,) = pair.spans
    assert (span.kind, span.label) == ("side", "pleural_effusion")
    assert (pair.chosen[slice(*span.chosen)], pair.rejected[slice(*span.rejected)]) == ("left", "right")
    assert undo(pair.chosen, pair.rejected, pair.spans) == pair.rejected
    assert pair.editor is not None
    assert pair.editor.name == f"import:{name}"


def test_what_only_some_formats_tell() -> None:
    fire, rrpo, mmedpo = (taken(name, PAIR_ROWS[name])[0][0] for name in ("fire-mpo", "rrpo", "mmedpo"))
    assert isinstance(fire, Pair)
    assert isinstance(rrpo, Pair)
    assert isinstance(mmedpo, Pair)
    assert (fire.id, fire.on_policy, fire.origin) == ("7", "rejected", "corrected")
    right = taken("fire-mpo", PAIR_ROWS["fire-mpo"] | {"was_correct": True})[0][0]
    assert isinstance(right, Pair)
    assert (right.on_policy, right.origin) == ("chosen", "counterfactual")
    assert rrpo.on_policy == "rejected"
    assert mmedpo.weights is not None
    assert mmedpo.weights.example == 0.75


@pytest.mark.parametrize(
    ("name", "change", "code"),
    [
        ("trl", {"rejected": [{"role": "assistant", "content": GOOD}]}, "same-text"),
        ("trl", {"chosen": [{"role": "assistant", "content": " "}]}, "field-malformed"),
        ("trl", {"chosen": 5}, "field-malformed"),
        ("trl", {"images": []}, "image-malformed"),
        ("trl", {"images": None}, "image-missing"),
        ("trl", {"images": ["/etc/passwd"]}, "path-escape"),
        ("trl", {"images": ["../x.png"]}, "path-escape"),
        ("trl", {"images": ["http://host/x.png"]}, "path-escape"),
        ("trl", {"rejected": "Completely other words were written here by somebody else."}, "rewritten"),
        ("fire-mpo", {"chosen": "a <mask>left lung."}, "tags-unbalanced"),
        ("fire-mpo", {"chosen": "a </mask>left<mask> lung."}, "tags-unbalanced"),
        ("fire-mpo", {"rejected": ""}, "field-malformed"),
        ("mmedpo", {"weighted_score": 3}, "field-malformed"),
        ("mmedpo", {"conversations": [{"from": "human", "value": text} for text in "ab"]}, "several-turns"),
        ("rlhf-v", {"text": "no json"}, "field-malformed"),
        ("ms-swift", {"rejected_response": None}, "field-malformed"),
        ("trl", {"chosen": GOOD + "\u0000"}, "control-character"),
    ],
)  # fmt: skip
def test_bad_rows_are_refused_with_a_code(name: str, change: dict[str, Any], code: str) -> None:
    made, rejects = taken(name, PAIR_ROWS[name] | change)
    assert made == []
    assert [reason for _, reason, _ in rejects] == [code]
    assert rejects[0][0] == "row-1"


def test_rows_that_are_no_objects_and_ids_that_repeat() -> None:
    made, rejects = taken("fire-mpo", None, [1], PAIR_ROWS["fire-mpo"], PAIR_ROWS["fire-mpo"])
    assert len(made) == 1
    assert [(row, code) for row, code, _ in rejects] == [
        ("row-1", "row-malformed"), ("row-2", "row-malformed"), ("row-4", "duplicate-id"),
    ]  # fmt: skip


def test_an_insertion_is_widened_to_a_word() -> None:
    row = PAIR_ROWS["trl"] | {"chosen": "There is effusion.", "rejected": "There is no effusion."}
    (pair,), _ = taken("trl", row)
    assert isinstance(pair, Pair)
    (span,) = pair.spans
    assert pair.chosen[slice(*span.chosen)].strip()
    assert undo(pair.rejected, pair.chosen, pair.spans, back=False) == pair.chosen


CASE_ROWS: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    (
        "vqa-rad",
        {"qid": 1, "image_name": "s.jpg", "question": "Is there a mass? ", "answer": "No", "answer_type": "CLOSED "},
        {"id": "1", "task": "vqa-closed", "reference": "No", "prompt": "Is there a mass?"},
    ),
    (
        "slake",
        {"qid": 0, "img_name": "x/source.jpg", "question": "Which organ?", "answer": "Lung", "answer_type": "OPEN"},
        {"id": "0", "task": "vqa-open", "reference": "Lung"},
    ),
    ("vqa-rad", {"qid": 2, "image_name": "s.jpg", "question": "How many?", "answer": 3}, {"reference": "3"}),
    (
        "vqa-rad",
        {
            "qid": 3,
            "image_name": "s.jpg",
            "question": "Any?",
            "answer": "no",
            "image_organ": "HEAD",
            "question_type": "P",
        },
        {"ext": {"organ": "HEAD", "kind": "P"}},
    ),
    (
        "slake",
        {
            "qid": 4,
            "img_name": "s.jpg",
            "question": "Any?",
            "answer": "no",
            "location": "Lung",
            "content_type": "Organ",
        },
        {"ext": {"organ": "Lung", "kind": "Organ"}},
    ),
    (
        "iu-xray",
        {"id": "CXR1", "report": "The lungs are clear.", "image_path": ["CXR1/0.png", "CXR1/1.png"], "split": "test"},
        {"id": "CXR1", "task": "report", "reference": "The lungs are clear."},
    ),
]


@pytest.mark.parametrize(("name", "row", "expected"), CASE_ROWS)
def test_cases(name: str, row: dict[str, Any], expected: dict[str, Any]) -> None:
    (case,), rejects = taken(name, row, images="imgs")
    assert rejects == []
    assert type(case) is Case
    assert {key: getattr(case, key) for key in expected} == expected
    assert all(image.path.startswith("imgs/") for image in case.images)
    # a patient's number in a file name must not travel as the group
    assert case.group is not None
    assert len(case.group) == 16


def test_llava_conversations_give_a_case_a_question() -> None:
    turns = [
        {"from": "human", "value": "<image>\nIs there a nodule?"}, {"from": "gpt", "value": "Yes."},
        {"from": "human", "value": "Where?"}, {"from": "gpt", "value": "In the left lung."},
    ]  # fmt: skip
    made, _ = taken("llava", {"id": "c", "image": "a.jpg", "conversations": turns})
    assert [(case.id, case.task, case.prompt) for case in made] == [
        ("c.0", "vqa-closed", "Is there a nodule?"), ("c.1", "vqa-open", "Where?"),
    ]  # fmt: skip
    assert len({case.group for case in made}) == 1


@pytest.mark.parametrize("name", EXPORTS)
def test_what_is_written_can_be_read_again(name: str) -> None:
    (pair,), _ = taken("fire-mpo", PAIR_ROWS["fire-mpo"])
    assert isinstance(pair, Pair)
    (again,), rejects = taken(name, json.loads(json.dumps(EXPORTS[name](pair))))
    assert rejects == []
    assert isinstance(again, Pair)
    same = (
        ("id", "prompt", "chosen", "rejected", "spans")
        if name == "fire-mpo"
        else ("id", "prompt", "chosen", "rejected")
    )
    for field in same:
        assert getattr(again, field) == getattr(pair, field)


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b'{"a": 1}\n\n{"a": 2}\n', [(1, {"a": 1}), (3, {"a": 2})]),
        (b'\xef\xbb\xbf[{"a": 1}, 2]', [(1, {"a": 1}), (2, 2)]),
        (b'{"train": [{"a": 1}], "test": [{"a": 2}]}', [(1, {"a": 1}), (2, {"a": 2})]),
        (b'{"a": 1}\n{"a": \n', [(1, {"a": 1}), (2, None)]),
        (b'{"a": 1}', [(1, {"a": 1})]),
    ],
)
def test_rows_of_a_file(tmp_path: Path, content: bytes, found: list[tuple[int, Any]]) -> None:
    path = tmp_path / "rows.json"
    path.write_bytes(content)
    assert list(rows(path)) == found


@pytest.mark.parametrize("content", [b"[{", b"", b"hello", b'"text"'])
def test_files_that_hold_no_rows(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "rows.json"
    path.write_bytes(content)
    with pytest.raises(BadInputError):
        list(rows(path))


@pytest.mark.parametrize("shape", ["{}\n{}\n{}\n", "[{},{},{}]", '{{"train":[{},{}],"test":[{}]}}'])
def test_a_row_with_half_a_character_is_no_row(tmp_path: Path, shape: str) -> None:
    """JSON can escape half of a pair that UTF-16 needs; no record could be written with it."""
    path = tmp_path / "rows.json"
    path.write_text(shape.format('{"a":"x"}', '{"a":["\\ud800 x"]}', '{"a":"\\ud83e\\uddb4"}'))
    assert [row for _, row in rows(path)] == [{"a": "x"}, None, {"a": "\N{BONE}"}]
