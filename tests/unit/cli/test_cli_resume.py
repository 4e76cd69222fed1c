"""``--resume``: the same bytes from wherever a run was cut off, and never two inputs in one output."""

import contextlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import msgspec
import pytest

from medpo_cli.cli.resume import SAMPLE, given_to_corrupt, given_to_masks, resumed
from medpo_cli.errors import ConfigError
from medpo_cli.io.output import FileOutput
from medpo_cli.schema.records import Case, End, ImageRef, Pair, Policy, Record, Region, Response, Sample, Span

POLICY = Policy(model="m", digest="0" * 64)
TOGETHER = 3


def case(number: int, **change: object) -> Case:
    return Case(**{"id": f"c{number}", "image": ImageRef(path="x.png"), "prompt": "p", "task": "report"} | change)


CASES = [case(number) for number in range(11)]


def answers(groups: Iterable[list[Case]]) -> Iterator[Record]:
    """A stage whose answers depend on who is in the same batch, and that rejects c1 and c7."""
    for group in groups:
        company = "".join(record.id for record in group)
        for record in group:
            if record.id not in ("c1", "c7"):
                fields = {name: getattr(record, name) for name in Case.__struct_fields__}
                yield Sample(**fields, policy=POLICY, responses=[Response(text=company)])


def where(identifier: str) -> str:
    return f"cases.jsonl:{int(identifier[1:]) + 1} (id {identifier})"


def whole(folder: Path) -> bytes:
    """The output of a run that nothing disturbed."""
    output = FileOutput(folder / "whole.jsonl")
    for record in answers(CASES[start : start + TOGETHER] for start in range(0, len(CASES), TOGETHER)):
        output.write(record)
    output.finish(End(stage="sample", run="r", records=output.count, rejected=2))
    return (folder / "whole.jsonl").read_bytes()


@pytest.fixture
def kept(tmp_path: Path) -> bytes:
    return whole(tmp_path)


@contextlib.contextmanager
def cut(folder: Path, kept: bytes, size: int) -> Iterator[FileOutput]:
    """The output of a run that was killed after so many bytes, opened again."""
    path = folder / f"{size}.jsonl"
    path.with_name(path.name + ".part").write_bytes(kept[:size])
    with contextlib.closing(FileOutput(path, resume=True)) as output:
        yield output


def test_wherever_it_was_cut_off_the_bytes_come_out_the_same(tmp_path: Path, kept: bytes) -> None:
    ends = [0]
    for line in kept.splitlines(keepends=True):
        ends += [ends[-1] + 5, ends[-1] + len(line)]
    for size in ends[:-1]:
        with cut(tmp_path, kept, size) as output:
            for record in resumed(iter(CASES), answers, output, SAMPLE, where=where, together=TOGETHER):
                output.write(record)
            output.finish(End(stage="sample", run="r", records=output.count, rejected=2))
        assert output.path.read_bytes() == kept, size


def test_a_finished_output_needs_nothing_but_what_was_rejected(tmp_path: Path, kept: bytes) -> None:
    asked: list[str] = []

    def work(groups: Iterator[list[Case]]) -> Iterator[Record]:
        for group in groups:
            asked.extend(record.id for record in group)
            yield from ()

    with cut(tmp_path, kept, len(kept)) as output:
        assert list(resumed(iter(CASES), work, output, SAMPLE, where=where)) == []
    assert asked == ["c1", "c7"]


def test_of_earlier_groups_only_what_was_rejected_is_seen_again(tmp_path: Path, kept: bytes) -> None:
    seen: list[list[str]] = []

    def work(groups: Iterator[list[Case]]) -> Iterator[Record]:
        for group in groups:
            seen.append([record.id for record in group])
            yield from answers([group])

    size = len(b"".join(kept.splitlines(keepends=True)[:7]))  # up to c8, the last of its group
    with cut(tmp_path, kept, size) as output:
        list(resumed(iter(CASES), work, output, SAMPLE, where=where, together=TOGETHER))
    assert seen == [["c1"], ["c6", "c7", "c8"], ["c9", "c10"]]


@pytest.mark.parametrize(
    ("changed", "how"),
    [
        (
            [CASES[0], CASES[1], case(2, prompt="another"), *CASES[3:]],
            r"cases.jsonl:3 \(id c2\) is not what its record was made from",
        ),
        ([CASES[0], CASES[1], *CASES[3:]], r"id c2 is missing|\(id c3\) comes too early"),
        ([CASES[2], CASES[0], *CASES[3:]], r"\(id c2\) comes too early"),
        (CASES[:2], "id c2 is missing"),
    ],
)
def test_another_input_is_refused(tmp_path: Path, kept: bytes, changed: list[Case], how: str) -> None:
    with cut(tmp_path, kept, len(kept)) as output, pytest.raises(ConfigError, match=how):
        list(resumed(iter(changed), answers, output, SAMPLE, where=where))


def from_another(**change: object) -> Callable[[Iterator[list[Case]]], Iterator[Record]]:
    def work(groups: Iterator[list[Case]]) -> Iterator[Record]:
        return (msgspec.structs.replace(record, **change) for record in answers(groups))

    return work


def test_an_answer_that_a_server_gives_otherwise_now_stays_as_it_was(tmp_path: Path, kept: bytes) -> None:
    work = from_another(responses=[Response(text="other")])
    first = kept.splitlines(keepends=True)[0]
    with cut(tmp_path, kept, len(first)) as output:
        new = list(resumed(iter(CASES), work, output, SAMPLE, where=where, together=TOGETHER))
    assert [record.id for record in new][:2] == ["c2", "c3"]  # type: ignore[attr-defined]
    assert output.part.read_bytes() == first


@pytest.mark.parametrize("finished", [1, 2])
def test_another_model_is_refused(tmp_path: Path, kept: bytes, finished: int) -> None:
    """In the middle of a group, and where a new one begins."""
    work = from_another(policy=Policy(model="m", digest="1" * 64))
    size = len(b"".join(kept.splitlines(keepends=True)[:finished]))
    with cut(tmp_path, kept, size) as output, pytest.raises(ConfigError, match="the model has changed"):
        list(resumed(iter(CASES), work, output, SAMPLE, where=where, together=TOGETHER))


def test_what_corrupt_makes_is_no_change_of_the_input() -> None:
    plain = case(0, ext={"mine": 1, "align": {"weight": 2}})
    made = msgspec.structs.replace(
        plain, no_control="no-control-site", ext={"mine": 1, "align": {"weight": 2, "ladder": [{}]}}
    )
    assert given_to_corrupt(made) == given_to_corrupt(plain)
    assert given_to_corrupt(case(0)) == given_to_corrupt(case(0, ext={"align": {"ladder": []}}))
    for other in (case(0, ext={"mine": 2}), case(0, ext={"align": {"weight": 3}}), case(0, reference="r")):
        assert given_to_corrupt(other) != given_to_corrupt(plain)


def test_what_masks_finds_is_no_change_of_the_input() -> None:
    region = Region(label="nodule", box=(0, 0, 1, 1), source="finder:1")
    drawn = Region(label="mass", box=(0, 0, 2, 2))
    assert given_to_masks(case(0, regions=[region])) == given_to_masks(case(0))
    assert given_to_masks(case(0, regions=[drawn, region])) == given_to_masks(case(0, regions=[drawn]))
    assert given_to_masks(case(0, regions=[drawn])) != given_to_masks(case(0, regions=[]))
    assert given_to_masks(case(0, regions=[drawn]), replace=True) == given_to_masks(case(0), replace=True)
    assert given_to_masks(case(0, image=ImageRef(path="x.png", frame=3))) == given_to_masks(case(0))
    assert given_to_masks(case(0, image=ImageRef(path="y.png"))) != given_to_masks(case(0))
    span = Span(kind="side", chosen=(0, 1), rejected=(0, 1), source="rules")
    fields = {name: getattr(case(0), name) for name in Case.__struct_fields__} | {"chosen": "l", "rejected": "r"}
    pair = Pair(**fields, origin="corrected", spans=[span])
    tied = msgspec.structs.replace(pair, regions=[region], spans=[msgspec.structs.replace(span, regions=(0,))])
    assert given_to_masks(tied) == given_to_masks(pair)
    assert given_to_masks(msgspec.structs.replace(tied, chosen="m")) != given_to_masks(pair)
