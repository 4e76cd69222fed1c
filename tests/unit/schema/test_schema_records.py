import json
from typing import Any

import msgspec
import pytest

from medpo_cli.errors import MedpoError, UsageError
from medpo_cli.schema.export import json_schema
from medpo_cli.schema.records import RECORDS, AnyRecord, Case, ImageRef, Pair, Region, Span

DECODER = msgspec.json.Decoder(AnyRecord)
PAIR: dict[str, Any] = {
    "schema": "medpo.pair/1",
    "id": "a-1",
    "image": {"path": "x.png"},
    "prompt": "?",
    "task": "report",
    "chosen": "left lung",
    "rejected": "right lung",
    "origin": "corrected",
    "spans": [{"kind": "side", "chosen": [0, 4], "rejected": [0, 5], "source": "rule"}],
}


def test_schema_is_the_first_key_and_absent_fields_are_not_written() -> None:
    case = Case(id="a", image=ImageRef(path="x.png"), prompt="?", task="report")
    assert msgspec.json.encode(case) == (
        b'{"schema":"medpo.case/1","id":"a","image":{"path":"x.png"},"prompt":"?","task":"report"}'
    )


def test_round_trip_keeps_ext_untouched() -> None:
    line = json.dumps({**PAIR, "ext": {"mine": [1, {"a": None}]}}).encode()
    assert DECODER.decode(msgspec.json.encode(DECODER.decode(line))) == DECODER.decode(line)
    assert DECODER.decode(line).ext == {"mine": [1, {"a": None}]}


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"id": "a b"}, "$.id"),
        ({"id": ""}, "$.id"),
        ({"id": "x" * 201}, "$.id"),
        ({"extra": 1}, ""),
        ({"image": {"path": "x", "sha256": "AB"}}, "$.image"),
        ({"task": "chat"}, "$.task"),
        ({"chosen": 3}, "$.chosen"),
        ({"spans": [{"kind": "side", "chosen": [0, 4], "rejected": [0, 99], "source": "r"}]}, "spans[0].rejected"),
        ({"spans": [{"kind": "side", "chosen": [4, 0], "rejected": [0, 1], "source": "r"}]}, "spans[0].chosen"),
        ({"spans": [{"kind": "side", "chosen": [-1, 0], "rejected": [0, 1], "source": "r"}]}, "$.spans[0].chosen"),
        ({"spans": [{**PAIR["spans"][0], "regions": [0]}]}, "spans[0].regions"),
        ({"spans": [{**PAIR["spans"][0], "regions": []}]}, "$.spans[0].regions"),
        ({"regions": [{"label": "n"}]}, "$.regions"),
        ({"regions": [{"label": "n", "box": [5, 0, 1, 9]}]}, "$.regions"),
        ({"regions": [{"label": "n", "polygon": [[0, 0], [1, 1]]}]}, "$.regions"),
        ({"regions": [{"label": "n", "polygon": [[0, 0], [1, 1], [2]]}]}, "$.regions"),
        ({"regions": [{"label": "n", "box": [0, 0, 1, 9], "polygon": [[0, 0], [1, 1], [2, 0]]}]}, "$.regions"),
    ],
)
def test_strict(change: dict[str, object], path: str) -> None:
    with pytest.raises(msgspec.ValidationError) as caught:
        DECODER.decode(json.dumps({**PAIR, **change}))
    assert path in str(caught.value)


def test_overlapping_spans_are_refused() -> None:
    span = Span(kind="side", chosen=(0, 4), rejected=(0, 4), source="r")
    late = Span(kind="side", chosen=(3, 5), rejected=(4, 5), source="r")
    with pytest.raises(ValueError, match=r"spans\[1\]\.chosen"):
        Pair(
            id="a",
            image=ImageRef(path="x"),
            prompt="",
            task="report",
            chosen="abcdefg",
            rejected="abcdefg",
            origin="corrected",
            spans=[span, late],
        )


def test_a_box_is_a_region_and_several_images_are_a_list() -> None:
    case = Case(
        id="a",
        image=[ImageRef(path="x"), ImageRef(path="y")],
        prompt="",
        task="vqa-open",
        regions=[Region(label="n", box=(0, 0, 2, 3))],
    )
    assert [image.path for image in case.images] == ["x", "y"]
    assert DECODER.decode(msgspec.json.encode(case)) == case


@pytest.mark.parametrize("name", RECORDS)
def test_every_kind_has_a_json_schema_that_forbids_unknown_fields(name: str) -> None:
    text = json.dumps(json_schema(name))
    assert f"medpo.{name}/1" in text
    assert '"additionalProperties": false' in text


def test_unknown_kind() -> None:
    with pytest.raises(UsageError, match="there are: case, sample"):
        json_schema("nothing")


def test_every_error_class_has_a_contract_exit_code() -> None:
    kinds = [cls for cls in MedpoError.__subclasses__() if cls.__module__ == MedpoError.__module__]
    assert sorted(cls.code for cls in kinds) == [2, 65, 65, 66, 69, 73, 74, 75, 78]
