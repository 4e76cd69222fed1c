import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from medpo_cli.errors import CannotCreateError, OutputError, RecordError, TryLaterError
from medpo_cli.io.context import Context
from medpo_cli.io.lock import hold, named_lock_path
from medpo_cli.io.log import Heartbeat, Messages, progress_line
from medpo_cli.io.manifest import Manifest, config_digest, private, read_digest, run_id
from medpo_cli.io.paths import prefix_between, rebase
from medpo_cli.schema.records import Case, ImageRef, MaskRef, Region


def test_a_lock_is_exclusive_and_ends_with_its_holder(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with hold(path, "nightly"), pytest.raises(TryLaterError, match="nightly"), hold(path, "nightly"):
        pass
    with hold(path, "nightly", remove=True):
        pass
    assert not path.exists()
    with pytest.raises(CannotCreateError), hold(tmp_path / "no" / "lock", "x"):
        pass


def test_lock_names(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    assert named_lock_path("gpu0") == tmp_path / f"medpo-{os.getuid()}-gpu0.lock"
    assert named_lock_path("/run/x.lock") == Path("/run/x.lock")


def test_messages_text_json_file_and_quiet(tmp_path: Path) -> None:
    said: list[str] = []
    messages = Messages("edit", quiet=True, log_file=tmp_path / "log" / "x.log", emit=said.append)
    messages("info", "hello")
    messages("warning", "careful")
    assert said == ["medpo edit: warning: careful"]
    assert "medpo edit: hello" in (tmp_path / "log" / "x.log").read_text()
    Messages("edit", as_json=True, emit=said.append)("error", "no")
    assert json.loads(said[-1])["level"] == "error"


def test_a_log_file_that_cannot_be_written() -> None:
    with pytest.raises(OutputError, match="log file cannot be written: No space left"):
        Messages("edit", log_file=Path("/dev/full"), emit=print)("info", "hello")
    with pytest.raises(CannotCreateError, match="log file cannot be written"):
        Messages("edit", log_file=Path("/dev/null/x.log"), emit=print)("info", "hello")


def test_heartbeat_says_little_and_then_less() -> None:
    now = [0.0]
    said: list[str] = []
    beat = Heartbeat(Messages("sample", emit=said.append), clock=lambda: now[0])
    beat.start("answers", 400)
    for second in range(1, 101):
        now[0] = second
        beat.advance()
    # 10 s, then 20 s later, then 40 s later: lines at 10, 30 and 70 seconds.
    assert said == [
        "medpo sample: answers 10/400, 1.0/s, 6:30 left",
        "medpo sample: answers 30/400, 1.0/s, 6:10 left",
        "medpo sample: answers 70/400, 1.0/s, 5:30 left",
    ]
    assert progress_line("x", 5, None, 2.0) == "x 5, 2.5/s"
    assert progress_line("x", 2, 4, 50.0) == "x 2/4, 25.0 s each, 0:50 left"


def test_a_warning_passes_quiet_and_a_note_does_not() -> None:
    said: list[str] = []
    beat = Heartbeat(Messages("align", quiet=True, emit=said.append))
    beat.note("curves")
    beat.warn("falls")
    assert said == ["medpo align: warning: falls"]


def test_of_several_processes_only_the_first_speaks_but_every_error_is_heard(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    said: list[str] = []
    messages = Messages("align", log_file=tmp_path / "log", emit=said.append)
    for name, value in {"LOCAL_RANK": "1", "RANK": "1", "WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)
    messages("info", "a")
    messages("warning", "b")
    messages("error", "c")
    assert said == ["medpo align: error: c"]
    assert len((tmp_path / "log").read_text().splitlines()) == 1


def test_manifest_hides_paths_outside_the_root(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    assert private("--beta", tmp_path) == "--beta"
    assert private(f"{tmp_path}/in/x.jsonl", tmp_path) == "in/x.jsonl"
    assert private(str(tmp_path), tmp_path) == "."
    hidden = private("/home/doe_john/study/x.jsonl", tmp_path)
    assert hidden.startswith("<outside:")
    assert "doe" not in hidden
    assert "doe" not in private("--model=/home/doe_john/m", tmp_path)
    command = f"python /home/doe_john/find.py --weights /home/doe_john/w {tmp_path}/in"
    words = private(command, tmp_path).split(" ")
    assert (words[0], words[2], words[4]) == ("python", "--weights", "in")
    assert "doe" not in "".join(words)


def test_manifest_hides_what_an_address_may_hold_of_secrets(tmp_path: Path) -> None:
    assert private("http://127.0.0.1:8000/v1", tmp_path) == "http://127.0.0.1:8000/v1"
    for url in ("http://key@10.0.0.1:80/v1", "http://10.0.0.1:80/key/v1", "--endpoint=http://a:key@10.0.0.1:80/?x=key"):
        assert "key" not in private(url, tmp_path)
        assert "://10.0.0.1:80/" in private(url, tmp_path)


def test_manifest_holds_settings_versions_and_outcome(tmp_path: Path) -> None:
    path = tmp_path / "o.run.json"
    manifest = Manifest("edit", ["edit", "x"], {"seed": 1}, tmp_path)
    manifest.write(path)
    assert json.loads(path.read_text())["exit_code"] is None
    assert read_digest(path) == config_digest({"seed": 1})
    manifest.finish(path, 3, records=5)
    facts = json.loads(path.read_text())
    assert (facts["schema"], facts["exit_code"], facts["records"]) == ("medpo.run/1", 3, 5)
    assert {"medpo", "python", "torch"} <= set(facts["versions"])
    assert read_digest(tmp_path / "none") is None
    path.write_text("[]")
    assert read_digest(path) is None


def test_run_id_depends_on_settings_and_input() -> None:
    assert run_id("edit", "a", "b") == run_id("edit", "a", "b") != run_id("edit", "a", "c")


@pytest.mark.parametrize(
    ("path", "code"),
    [("../x", "path-escape"), ("/etc/passwd", "path-escape"), ("absent", "file-not-found"), ("dir", "not-regular"),
     ("link", "path-escape"), ("a\0b", "path-escape"), ("file:///x", "path-escape")],
)  # fmt: skip
def test_paths_stay_under_the_root(tmp_path: Path, path: str, code: str) -> None:
    root = tmp_path / "root"
    (root / "dir").mkdir(parents=True)
    (tmp_path / "x").write_bytes(b"")
    (root / "link").symlink_to(tmp_path / "x")
    with pytest.raises(RecordError) as caught:
        Context(root).resolve(path, "$.image.path")
    assert (caught.value.reason, caught.value.path) == (code, "$.image.path")
    assert path not in caught.value.message


def test_outside_is_possible_when_asked_for(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"")
    assert Context(tmp_path / "root", allow_outside=True).resolve("../x", "$").name == "x"


def test_rebase_moves_every_path(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    assert prefix_between(tmp_path / "data", tmp_path) == "data/"
    assert prefix_between(tmp_path, tmp_path) == ""
    assert prefix_between(tmp_path, tmp_path / "data") is None
    case = Case(
        id="a",
        image=[ImageRef(path="i.png"), ImageRef(path="j.png")],
        prompt="",
        task="report",
        regions=[Region(label="n", mask=MaskRef(path="m.nii.gz", value=2)), Region(label="n", box=(0, 0, 1, 1))],
        ext={"twins": {"n": "t.png"}, "mine": "i.png"},
    )
    moved = rebase(case, "data/")
    assert [image.path for image in moved.images] == ["data/i.png", "data/j.png"]
    assert moved.regions is not None
    assert moved.regions[0].mask == MaskRef(path="data/m.nii.gz", value=2)
    assert moved.ext == {"twins": {"n": "data/t.png"}, "mine": "i.png"}
    assert rebase(case, "") is case


def test_rebase_moves_the_images_of_ext_align() -> None:
    align = {
        "ladder": [{"path": "a.nii.gz", "frame": 2}, {"path": "/b.png"}],
        "twin": {"image": {"path": "t.png"}, "answer": "a.png"},
        "degree": {"chosen": 0, "rejected": 1},
    }
    case = Case(id="a", image=ImageRef(path="i.png"), prompt="", task="report", ext={"align": align})
    moved = rebase(case, "data/").ext
    assert moved == {
        "align": {
            "ladder": [{"path": "data/a.nii.gz", "frame": 2}, {"path": "/b.png"}],
            "twin": {"image": {"path": "data/t.png"}, "answer": "a.png"},
            "degree": {"chosen": 0, "rejected": 1},
        }
    }
    assert case.ext == {"align": align}  # the record itself is as it was


@pytest.mark.parametrize("align", [3, {"ladder": 3}, {"ladder": [3, {"path": 3}]}, {"twin": {"image": 3}}])
def test_rebase_leaves_malformed_extras_to_their_reader(align: object) -> None:
    case = Case(id="a", image=ImageRef(path="i.png"), prompt="", task="report", ext={"align": align})
    assert rebase(case, "data/").ext == {"align": align}


def test_stray_prints_never_reach_standard_output() -> None:
    program = """
import ctypes, os, subprocess, sys
from medpo_cli.io.stdout import guard_stdout
out = guard_stdout()
print("python")
ctypes.CDLL(None).puts(b"c")
ctypes.CDLL(None).fflush(None)
subprocess.run(["echo", "child"])
out.write(b"record\\n")
out.flush()
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert done.stdout == b"record\n"
    assert sorted(done.stderr.split()) == [b"c", b"child", b"python"]


def test_light_floors_import_nothing_heavy() -> None:
    heavy = ("torch", "transformers", "SimpleITK", "pydicom", "typer", "rich", "numpy")
    program = (
        "import sys, medpo_cli.io.stream, medpo_cli.io.output, medpo_cli.io.manifest, medpo_cli.schema.config\n"
        f"print([m for m in {heavy!r} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
