import os
from pathlib import Path

import pytest

from medpo_cli.errors import BadInputError, CannotCreateError, ConfigError, OutputError, TryLaterError
from medpo_cli.io.files import atomic_path, sha256_file, short_hash, write_atomic
from medpo_cli.io.output import FileOutput, Output, ReaderGoneError
from medpo_cli.io.stream import encode
from medpo_cli.schema.records import Case, End, ImageRef

END = End(stage="s", run="r", records=0, rejected=0)


def case(name: str) -> Case:
    return Case(id=name, image=ImageRef(path="x"), prompt="", task="report")


def test_a_file_appears_only_when_it_is_whole(tmp_path: Path) -> None:
    output = FileOutput(tmp_path / "o.jsonl")
    output.write(case("a"))
    assert not (tmp_path / "o.jsonl").exists()
    output.finish(END)
    assert (tmp_path / "o.jsonl").read_bytes() == encode(case("a")) + b"\n" + encode(END) + b"\n"
    assert output.count == 1
    assert output.sha256 == sha256_file(tmp_path / "o.jsonl")
    assert os.listdir(tmp_path) == ["o.jsonl"]


def test_existing_output_is_refused(tmp_path: Path) -> None:
    target = tmp_path / "o.jsonl"
    target.write_bytes(b"mine\n")
    with pytest.raises(CannotCreateError, match="--force"):
        FileOutput(target)
    target.unlink()
    (tmp_path / "o.jsonl.part").write_bytes(b"")
    with pytest.raises(CannotCreateError, match="--resume"):
        FileOutput(target)


def test_two_runs_never_share_an_output(tmp_path: Path) -> None:
    first = FileOutput(tmp_path / "o.jsonl")
    with pytest.raises(TryLaterError):
        FileOutput(tmp_path / "o.jsonl", force=True)
    first.close()
    FileOutput(tmp_path / "o.jsonl", force=True).close()


def test_resume_cuts_the_torn_line_and_goes_on(tmp_path: Path) -> None:
    part = tmp_path / "o.jsonl.part"
    part.write_bytes(encode(case("a")) + b"\n" + encode(case("b"))[:20])
    output = FileOutput(tmp_path / "o.jsonl", resume=True)
    assert [record.id for record in output.resumed()] == ["a"]  # type: ignore[attr-defined]
    output.write(case("b"))
    output.finish(END)
    expected = b"".join(encode(r) + b"\n" for r in (case("a"), case("b"), END))
    assert (tmp_path / "o.jsonl").read_bytes() == expected
    assert output.count == 2


def test_resume_of_a_finished_file_drops_its_end(tmp_path: Path) -> None:
    (tmp_path / "o.jsonl").write_bytes(encode(case("a")) + b"\n" + encode(END) + b"\n")
    output = FileOutput(tmp_path / "o.jsonl", resume=True)
    assert output.count == 1
    output.finish(END)
    assert (tmp_path / "o.jsonl").read_bytes() == encode(case("a")) + b"\n" + encode(END) + b"\n"


def test_replay_checks_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "o.jsonl.part").write_bytes(encode(case("a")) + b"\n")
    output = FileOutput(tmp_path / "o.jsonl", resume=True)
    assert list(output.replay(iter([case("a"), case("b")]))) == [case("b")]
    with pytest.raises(ConfigError, match="differ"):
        list(output.replay(iter([case("z"), case("b")])))
    output.close()


def test_a_part_that_is_not_ours_is_refused(tmp_path: Path) -> None:
    (tmp_path / "o.jsonl.part").write_bytes(b"something else\n")
    with pytest.raises(BadInputError, match="--force"):
        FileOutput(tmp_path / "o.jsonl", resume=True)


def test_a_reader_that_went_away() -> None:
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "wb", buffering=0) as stream, pytest.raises(ReaderGoneError):
        Output(stream, "pipe").write(case("a"))


def test_a_full_disk_is_an_output_error() -> None:
    with open("/dev/full", "wb", buffering=0) as stream, pytest.raises(OutputError, match="No space"):
        Output(stream, "out").write(case("a"))


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(CannotCreateError):
        FileOutput(tmp_path / "file" / "o.jsonl")


def test_atomic_files_leave_nothing_behind_when_they_fail(tmp_path: Path) -> None:
    write_atomic(tmp_path / "a", b"old")

    def fail() -> None:
        with atomic_path(tmp_path / "a") as temporary:
            temporary.write_bytes(b"half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert (tmp_path / "a").read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a"]


def test_short_hash_depends_on_where_parts_end() -> None:
    assert short_hash("ab", "c") != short_hash("a", "bc")
    assert len(short_hash("a")) == 16
