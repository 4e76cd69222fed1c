"""One test per exit code of the contract (section 3) and per stage, and what is left to go on with after each."""

import fcntl
import itertools
import json
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any

import pytest
from data import forked, stage_runs

OUT = "out"
RECORDS = 8
MODULES = {name: f"medpo_cli.stages.{name}" for name in stage_runs.NAMES}
WITHOUT = {
    "sample": ["--model", "gone"],
    "edit": ["--editor", "hf", "--model", "gone"],
    "masks": ["--mask-cmd", "./gone"],
    "align": ["--model", "gone"],
    "eval": ["--model", "gone"],
}
OTHER_SETTINGS = {"masks": ["--min-score", "0.5"]}
every_stage = pytest.mark.parametrize("stage", stage_runs.NAMES)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[bool, Path]:
    """The inputs of all stages, without and with bad records."""
    forked.load()
    folders = {bad: tmp_path_factory.mktemp("inputs") for bad in (False, True)}
    for bad, folder in folders.items():
        stage_runs.write_inputs(folder, RECORDS, bad=bad)
    return folders


@pytest.fixture(scope="module")
def whole(made: dict[bool, Path], tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], dict[str, bytes]]:
    """What an undisturbed run of a stage writes."""
    known: dict[str, dict[str, bytes]] = {}

    def of(stage: str) -> dict[str, bytes]:
        if stage not in known:
            folder = copied(made[False], tmp_path_factory.mktemp("whole"))
            assert forked.run(folder, words(stage, "-o", OUT)) == (0, (folder / "stderr").read_text())
            known[stage] = results(folder)
        return known[stage]

    return of


@pytest.fixture
def folder(made: dict[bool, Path], tmp_path: Path) -> Path:
    """Clean inputs."""
    return copied(made[False], tmp_path)


@pytest.fixture
def bad(made: dict[bool, Path], tmp_path: Path) -> Path:
    """Inputs with bad records."""
    return copied(made[True], tmp_path)


def copied(source: Path, target: Path) -> Path:
    for path in source.iterdir():
        (target / path.name).symlink_to(path) if path.is_dir() else shutil.copy(path, target)
    return target


def words(stage: str, *more: str, source: str = "") -> list[str]:
    chosen = source or ("cases.jsonl" if "gone" in more and stage == "eval" else "")
    return stage_runs.words(stage, *more, "--allow-outside", source=chosen)[3:]  # the images are links


def results(folder: Path) -> dict[str, bytes]:
    """The output and the images or masks beside it; of an adapter its weights."""
    found = [*folder.glob(OUT), *folder.glob(f"{OUT}.part"), *folder.glob("corrupted/*"), *folder.glob("masks/*")]
    found = [path / "adapter_model.safetensors" if path.is_dir() else path for path in found]
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


def resumed(folder: Path, stage: str, whole: Callable[[str], dict[str, bytes]]) -> None:
    """``--resume`` goes on to what an undisturbed run writes."""
    code, errors = forked.run(folder, words(stage, "-o", OUT, "--resume"))
    assert code == 0, errors
    assert results(folder) == whole(stage)


def exit_code_of(folder: Path) -> Any:
    return json.loads((folder / f"{OUT}.run.json").read_text())["exit_code"]


@every_stage
def test_0_done(folder: Path, stage: str, whole: Callable[[str], dict[str, bytes]]) -> None:
    process = forked.start(folder, words(stage))
    assert process.wait() == 0
    assert json.loads(process.out.splitlines()[-1])["schema"] == "medpo.end/1"
    assert "SECRET" not in process.err
    written = whole(stage)
    assert written[OUT] == process.out.encode() if stage != "align" else f"{OUT}/adapter_model.safetensors" in written


@every_stage
def test_2_usage(folder: Path, stage: str) -> None:
    code, errors = forked.run(folder, words(stage, "--no-such-option"))
    assert (code, "No such option" in errors) == (2, True)


@every_stage
def test_3_some_records_rejected(bad: Path, stage: str) -> None:
    code, errors = forked.run(bad, words(stage, "-o", OUT))
    assert code == 3, errors
    rejects = [json.loads(line) for line in (bad / f"{OUT}.rejects.jsonl").read_text().splitlines()]
    assert [one["schema"] for one in rejects] == ["medpo.reject/1"] * 3 + ["medpo.end/1"]
    assert [one["line"] for one in rejects[:-1]] == [3, 7, 11]
    assert exit_code_of(bad) == 3


@every_stage
def test_65_an_input_that_is_cut_off_or_may_not_be_bad(bad: Path, stage: str) -> None:
    text = (bad / stage_runs.INPUTS[stage]).read_text()
    (bad / "cut.jsonl").write_text(text[: text.rindex('{"schema":"medpo.end/1"')])
    code, errors = forked.run(bad, words(stage, "-o", OUT, "--require-end", source="cut.jsonl"))
    assert (code, "cut off" in errors) == (65, True), errors
    assert not (bad / OUT).exists()
    code, errors = forked.run(bad, words(stage, "-o", OUT, "--on-bad", "fail", "--force"))
    assert (code, f"{stage_runs.INPUTS[stage]}:3" in errors) == (65, True), errors
    assert exit_code_of(bad) == 65


@every_stage
def test_66_no_such_input(folder: Path, stage: str) -> None:
    code, errors = forked.run(folder, words(stage, source="absent.jsonl"))
    assert (code, "absent.jsonl" in errors) == (66, True)


@pytest.mark.parametrize("stage", WITHOUT)
def test_69_what_it_needs_is_missing(folder: Path, stage: str) -> None:
    """``corrupt`` needs nothing that could be missing."""
    code, errors = forked.run(folder, words(stage, *WITHOUT[stage]))
    assert (code, len(errors.splitlines()) < 4) == (69, True), errors


@every_stage
def test_70_a_bug_without_text_or_traceback(folder: Path, stage: str) -> None:
    def broken() -> None:
        import importlib

        def run(*_args: object, **_named: object) -> Iterator[None]:
            raise KeyError("SECRET")
            yield

        importlib.import_module(MODULES[stage]).run = run  # type: ignore[attr-defined]

    code, errors = forked.run(folder, words(stage, "-o", OUT), prepare=broken)
    assert code == 70
    assert "internal error (a bug in medpo): KeyError at" in errors
    assert "SECRET" not in errors
    assert "Traceback" not in errors
    assert exit_code_of(folder) == 70


@every_stage
def test_73_an_output_that_exists_or_cannot_be_made(folder: Path, stage: str) -> None:
    (folder / OUT).mkdir() if stage == "align" else (folder / OUT).write_text("mine")
    assert forked.run(folder, words(stage, "-o", OUT))[0] == 73
    assert (folder / OUT).is_dir() or (folder / OUT).read_text() == "mine"
    for nowhere in ("cases.jsonl/out", "/proc/out"):
        code, errors = forked.run(folder, words(stage, "-o", nowhere))
        assert (code, "Traceback" in errors) == (73, False), errors


@every_stage
def test_74_standard_output_is_full(folder: Path, stage: str) -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    code, errors = forked.run(folder, words(stage), stdout=full)
    os.close(full)
    assert (code, "No space left on device" in errors) == (74, True), errors


@every_stage
def test_74_a_file_can_grow_no_more_and_the_run_goes_on_later(
    folder: Path, stage: str, whole: Callable[[str], dict[str, bytes]]
) -> None:
    largest = max(map(len, whole(stage).values())) * 2 // 3
    code, errors = forked.run(folder, words(stage, "-o", OUT), largest_file=largest)
    assert (code, "Traceback" in errors) == (74, False), errors
    assert "File too large" in errors or "disk full?" in errors
    assert not (folder / OUT).is_file()
    resumed(folder, stage, whole)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MiB, which only root can make."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(disk)], capture_output=True)
    if mounted.returncode:
        pytest.skip("no right to mount a file system")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


@every_stage
def test_74_a_full_disk_and_the_run_goes_on_when_there_is_room(
    made: dict[bool, Path], small_disk: Path, stage: str, whole: Callable[[str], dict[str, bytes]]
) -> None:
    folder = copied(made[False], small_disk)
    free = os.statvfs(folder)
    (folder / "filler").write_bytes(bytes(free.f_bavail * free.f_bsize - (12 << 10)))
    code, errors = forked.run(folder, words(stage, "-o", OUT))
    assert (code, "Traceback" in errors) == (74, False), errors
    (folder / "filler").unlink()
    resumed(folder, stage, whole)


@every_stage
@pytest.mark.parametrize("held", ["lock", "output"])
def test_75_another_run_holds_it(folder: Path, stage: str, held: str) -> None:
    own = f".{OUT}.lock" if stage == "align" else f"{OUT}.part"
    name = "named.lock" if held == "lock" else own
    with open(folder / name, "w") as holder:
        fcntl.flock(holder, fcntl.LOCK_EX)
        code, errors = forked.run(folder, words(stage, "-o", OUT, "--resume", "--lock", "./named.lock"))
        assert (code, "another" in errors) == (75, True), errors
    assert not (folder / OUT).exists()


@every_stage
def test_75_out_of_time_and_the_run_goes_on_later(
    folder: Path, stage: str, whole: Callable[[str], dict[str, bytes]]
) -> None:
    code, errors = forked.run(folder, words(stage, "-o", OUT, "--max-minutes", "0.0000001"))
    assert (code, "run again with --resume" in errors) == (75, True), errors
    assert exit_code_of(folder) == 75
    resumed(folder, stage, whole)


@every_stage
def test_78_an_unknown_key_and_other_settings_on_resume(folder: Path, stage: str) -> None:
    (folder / "medpo.toml").write_text(f"[{stage}]\nsed = 1\n")
    code, errors = forked.run(folder, words(stage))
    assert (code, "did you mean seed?" in errors) == (78, True), errors
    (folder / "medpo.toml").unlink()
    assert forked.run(folder, words(stage, "-o", OUT))[0] == 0
    before = results(folder)
    code, errors = forked.run(folder, words(stage, "-o", OUT, "--resume", *OTHER_SETTINGS.get(stage, ["--seed", "5"])))
    assert (code, "cannot resume" in errors) == (78, True), errors
    assert results(folder) == before


@every_stage
@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_128_plus_n_and_the_run_goes_on_later(
    folder: Path, stage: str, number: signal.Signals, whole: Callable[[str], dict[str, bytes]]
) -> None:
    reader, writer = os.pipe()
    process = forked.start(folder, words(stage, "-o", OUT, source="-"), stdin=reader)
    os.write(writer, b"".join((folder / stage_runs.INPUTS[stage]).read_bytes().splitlines(keepends=True)[:3]))
    forked.wait_for(lambda: (folder / f"{OUT}.run.json").exists())
    os.kill(process.pid, number)
    assert process.wait() == 128 + number
    os.close(reader)
    os.close(writer)
    assert f"stopped by {number.name}" in process.err
    assert exit_code_of(folder) == 128 + number
    if number == signal.SIGTERM:  # the three differ in their number only
        resumed(folder, stage, whole)


@every_stage
def test_141_the_reader_went_away(folder: Path, stage: str) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    assert forked.run(folder, words(stage), stdout=writer) == (141, (folder / "stderr").read_text())
    os.close(writer)
    assert "error" not in (folder / "stderr").read_text()


class Backwards(datetime):
    """A clock that somebody sets back an hour whenever it is looked at."""

    behind = timedelta()

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> "Backwards":
        Backwards.behind += timedelta(hours=1)
        return cls.fromtimestamp(datetime.now(tz).timestamp(), tz) - Backwards.behind


@every_stage
def test_a_clock_that_is_set_back_changes_nothing(
    folder: Path, stage: str, whole: Callable[[str], dict[str, bytes]]
) -> None:
    def set_back() -> None:
        from medpo_cli.io import log, manifest

        log.datetime = manifest.datetime = Backwards  # type: ignore[misc]
        hours, clock = itertools.count(), time.time
        time.time = lambda: clock() - 3600 * next(hours)

    options = ["-o", OUT, "--max-minutes", "5", "--lock", "./x.lock", "--log-file", "run.log"]
    code, errors = forked.run(folder, words(stage, *options), prepare=set_back)
    assert code == 0, errors
    assert results(folder) == whole(stage)
    facts = json.loads((folder / f"{OUT}.run.json").read_text())
    assert facts["finished"] < facts["started"], "it was not set back"
    assert 0 <= facts["seconds"] < 300


@pytest.mark.parametrize(("stage", "more"), [("sample", []), ("edit", ["--editor", "http"])])
def test_a_signal_does_not_wait_for_a_server(folder: Path, stage: str, more: list[str]) -> None:
    """One that takes the question and never answers would be asked four times, two minutes each."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}/v1"
        options = [*more, "--allow-outside", "--endpoint", url, "--endpoint-model", "m", "-o", OUT]
        process = forked.start(folder, [stage, stage_runs.INPUTS[stage], *options])
        connection, _ = server.accept()
        with connection:
            assert connection.recv(1)
            os.kill(process.pid, signal.SIGTERM)
            assert process.wait() == 143
    assert "stopped by SIGTERM" in process.err
