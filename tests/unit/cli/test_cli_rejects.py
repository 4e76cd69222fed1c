"""The file of rejects belongs to the output that lacks them: it comes, changes and goes with it."""

import fcntl
from pathlib import Path

import msgspec
import pytest

from medpo_cli.cli.rejects import RejectFile
from medpo_cli.errors import MedpoError
from medpo_cli.io.stream import decode, encode
from medpo_cli.schema.records import End, Reject

OLD = b'{"schema":"medpo.reject/1","stage":"sample","source":"x","line":1,"code":"c","message":"m"}\n'


def reject(line: int, stage: str = "sample") -> Reject:
    return Reject(stage=stage, source="cases.jsonl", line=line, code="not-json", message="m")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "out.jsonl.rejects.jsonl"


def test_a_finished_run_replaces_the_rejects_of_an_earlier_one(path: Path) -> None:
    path.write_bytes(OLD)
    rejects = RejectFile(path, "sample", beside=True)
    rejects.write(reject(7))
    assert path.read_bytes() == OLD, "the old output still stands"
    rejects.finish(1)
    end = b'{"schema":"medpo.end/1","stage":"sample","run":"rejects","records":1,"rejected":0}\n'
    assert path.read_bytes() == encode(reject(7)) + b"\n" + end
    assert list(path.parent.iterdir()) == [path]


def test_they_stand_in_the_order_of_the_input(path: Path) -> None:
    rejects = RejectFile(path, "sample", beside=True)
    made = [msgspec.structs.replace(reject(line), id=f"id{number}") for number, line in enumerate([4, 2, 9, 2])]
    for one in made:
        rejects.write(one)
    rejects.finish(4)
    *found, end = map(decode, path.read_bytes().splitlines())
    assert found == [made[1], made[3], made[0], made[2]]
    assert end == End(stage="sample", run="rejects", records=4, rejected=0)
    assert list(path.parent.iterdir()) == [path]


def test_a_run_that_ends_early_leaves_the_old_ones(path: Path) -> None:
    path.write_bytes(OLD)
    rejects = RejectFile(path, "sample", beside=True)
    rejects.write(reject(7))
    rejects.close(1)
    assert path.read_bytes() == OLD
    assert path.with_name(path.name + ".part").read_bytes() == encode(reject(7)) + b"\n"


def test_a_clean_run_removes_them_and_what_a_killed_run_left(path: Path) -> None:
    for left in (OLD, b""):
        path.write_bytes(OLD)
        path.with_name(path.name + ".part").write_bytes(left)
        RejectFile(path, "sample", beside=True).finish(0)
        assert list(path.parent.iterdir()) == []


def test_those_of_a_pipe_stand_however_it_ends(path: Path) -> None:
    rejects = RejectFile(path, "sample", beside=False)
    rejects.write(reject(1))
    rejects.close(1)
    assert len(path.read_bytes().splitlines()) == 2


@pytest.mark.parametrize("text", [b"my notes\n", encode(reject(1, "edit")) + b"\n"])
def test_a_file_that_this_stage_did_not_write_is_not_removed(path: Path, text: bytes) -> None:
    path.write_bytes(text)
    RejectFile(path, "sample", beside=True).finish(0)
    assert path.read_bytes() == text


def test_the_file_of_a_run_under_way_is_not_removed(path: Path) -> None:
    part = path.with_name(path.name + ".part")
    part.write_bytes(OLD)
    with part.open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        RejectFile(path, "sample", beside=True).finish(0)
    assert part.exists()


def test_nobody_asked_for_a_file_or_it_cannot_be_removed(tmp_path: Path) -> None:
    nowhere = RejectFile(None, "sample", beside=True)
    nowhere.write(reject(1))
    nowhere.finish(1)
    (tmp_path / "folder").mkdir()
    with pytest.raises(MedpoError, match="folder: Is a directory"):
        RejectFile(tmp_path / "folder", "sample", beside=True).finish(0)
