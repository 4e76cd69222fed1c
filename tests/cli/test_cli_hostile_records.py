"""Records that attack, through every command: each costs itself alone, and the sound ones behind it get through."""

import json
import os
import re
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest_cli import END, MEDPO, Run

from medpo_cli.demo import MODEL

pytestmark = pytest.mark.timeout(240)
PLUGIN = Path(__file__).parents[1] / "data" / "mask_plugin.py"
BASE: dict[str, Any] = {
    "schema": "medpo.pair/1", "id": "base", "image": {"path": "images/0.png"}, "prompt": "Is there a nodule?",
    "reference": "There is a nodule.", "task": "report", "group": "g",
    "regions": [{"label": "nodule", "box": [10, 12, 20, 22]}], "policy": {"model": "m", "digest": "d"},
    "chosen": "There is a nodule.", "rejected": "There is no nodule.", "origin": "corrected", "on_policy": "rejected",
    "spans": [{"kind": "status", "chosen": [9, 10], "rejected": [9, 11], "source": "rule"}],
}  # fmt: skip
ONLY_PAIRS = ("chosen", "rejected", "origin", "on_policy", "spans", "weights")


def image(**change: object) -> dict[str, Any]:
    return {"image": {"path": "images/0.png", **change}}


def region(**change: object) -> dict[str, Any]:
    return {"regions": [{"label": "nodule", **change}]}


def span(**change: object) -> dict[str, Any]:
    return {"spans": [{**BASE["spans"][0], **change}]}


CHANGES: list[dict[str, Any]] = [
    image(frame=10**18), image(frame=2**64), image(frame=10**40), image(montage=[0] * 64), image(montage=[10**18, 0]),
    image(window={"center": 1e308, "width": 1e308}), image(window={"center": 0, "width": 5e-324}),
    image(path="images"), image(path="."), image(path="a\0b"), image(path="a\nb"), image(path="fifo"),
    image(path="loop"), image(path="records.jsonl"), image(path="../../../proc/self/mem"), image(path="/etc/passwd"),
    image(path="images/../../x.png"), image(path="out/x.png"), image(path="file:///etc/passwd"), image(path="~/x.png"),
    {"image": []}, {"image": [{"path": "images/0.png"}] * 200}, {"image": {"path": {"path": "x"}}},
    region(box=[-1e308, -1e308, 1e308, 1e308]), region(box=[0, 0, 1e18, 1e18]), region(box=[1, 1, 1.0000001, 1.1]),
    region(polygon=[[0, 0], [1e308, 0], [0, 1e308]]), region(polygon=[[0, 0]] * 3),
    region(polygon=[[i % 48, i * 7 % 48] for i in range(10_000)]), region(box=[10, 12, 20, 22], spacing=[0] * 1000),
    region(box=[10, 12, 20, 22], spacing=[-1, 1e308]), region(mask={"path": "images/1.png", "value": 2**63 - 1}),
    region(mask={"path": "images/1.png", "value": 10**30}), region(mask={"path": "images/1.png"}),
    region(mask={"path": "images"}), region(mask={"path": "../x.png"}), {"regions": [BASE["regions"][0]] * 500},
    {"prompt": "a\0b"}, {"prompt": "\x1b[2J"}, {"prompt": "nodule " * 50_000}, {"prompt": ""}, {"reference": ""},
    {"reference": "There is no nodule but a nodule. " * 5000}, {"chosen": "There is a nodule. " * 50_000},
    {"chosen": "e\u0301\u202e nodule", "spans": []}, {"rejected": "There is a nodule."}, {"spans": []},
    span(evidence=[0, 10**9]), span(regions=[10**18]), span(chosen=[0, 2**70]), span(chosen=[9, 8]),
    {"weights": {"flip": 2}}, {"weights": {"example": -1}}, {"policy": {"model": "m", "digest": "d", "seed": 2**70}},
    {"policy": {"model": "m", "digest": "d", "decoding": {"n": 10**18, "max_tokens": 10**18}}},
    {"ext": {"twins": {"nodule": 5}}}, {"ext": {"twins": [1]}}, {"ext": {"twins": {"nodule": "../../x"}}},
    {"ext": {"probe": 5}}, {"ext": {"align": 5}}, {"ext": {"align": {"token_weights": {"chosen": [1e308]}}}},
    {"ext": {"align": {"ladder": [{"path": "../x"}, {"path": "images/0.png"}]}}}, {"ext": {"organ": [1], "kind": {}}},
    {"ext": {"x": 10**400}}, {"ext": []}, {"group": 5}, {"id": ""}, {"id": "a" * 300}, {"id": ["a"]}, {"task": None},
]  # fmt: skip
"""Well-formed JSON whose values are hostile; some are strange and yet sound to some commands."""

LINES: list[bytes] = [
    b"", b"   ", b"{", b"}", b"[]", b"null", b"5", b'"x"', b"\0\0\0", b"\xff\xfe\xfd", b"\xef\xbb\xbf{}", b"NaN",
    b"{}{}", b"[" * 100_000, b'{"schema":"medpo.pair/1","ext":' + b'{"a":' * 100_000 + b"1" + b"}" * 100_001,
    b'{"schema":"medpo.case/1","id":' + b"[" * 100_000 + b"]" * 100_000 + b"}", b'{"schema":"medpo.end/1"}',
    b'{"schema":' + b"9" * 100_000 + b"}", b'{"schema":"medpo.pair/1","schema":"medpo.case/1"}', b'{"":1}',
    b'{"schema":["medpo.pair/1"]}', b'{"schema":"medpo.run/1"}', b'{"SCHEMA":"medpo.pair/1"}', b"\x1f\x8b\x08\0",
]  # fmt: skip
"""What is no record, whatever the command."""
PATCHES: list[tuple[bytes, bytes]] = [
    (b'"task"', b'"ext":{"x":NaN},"task"'), (b'"task"', b'"ext":{"x":Infinity},"task"'),
    (b'"task"', b'"ext":{"x":1e999},"task"'), (b'"task"', b'"ext":{"a":1,"a":2},"task"'),
    (b'"task"', b'"prompt":"again","task"'), (b"Is there", b"\\ud800"), (b"Is there", b"\xc3\x28"),
    (b"Is there", b"\t\x01"), (b'"task":"report"', b"'task':'report'"), (b'"task"', b"/* c */\"task\""),
    (b'"task":"report"', b'"task":"report",'), (b'"report"', b"True"), (b'"path"', b'"path":"images/1.png","path"'),
]  # fmt: skip
"""Replacements that make a record no strict JSON, or one that says a thing twice."""


def lines(drop: tuple[str, ...] = (), **more: Any) -> bytes:
    """All of it as one file, with sound records at both ends."""
    base = {key: value for key, value in (BASE | more).items() if key not in drop}

    def line(identifier: str, change: dict[str, Any]) -> bytes:
        kept = {key: value for key, value in change.items() if key not in drop}
        return json.dumps(base | {"id": identifier} | kept, separators=(",", ":")).encode()

    made = [line(f"hostile-{number}", change) for number, change in enumerate(CHANGES)]
    patched = [line(f"patched-{n}", {}).replace(old, new, 1) for n, (old, new) in enumerate(PATCHES)]
    assert all(one != line(f"patched-{n}", {}) for n, one in enumerate(patched))
    return b"\n".join([line("first", {}), *LINES, *made, *patched, line("last", {}), END.encode()])


@pytest.fixture
def hostile(folder: Path) -> Path:
    """The folder with pairs.jsonl, cases.jsonl and samples.jsonl full of attacks, and a pipe that hangs its reader."""
    os.mkfifo(folder / "fifo")
    (folder / "loop").symlink_to("loop")
    (folder / "out").symlink_to("/etc")
    (folder / "records.jsonl").write_text(END)
    (folder / "pairs.jsonl").write_bytes(lines())
    (folder / "cases.jsonl").write_bytes(lines((*ONLY_PAIRS, "policy"), schema="medpo.case/1"))
    answers = [{"text": "There is no nodule."}]
    (folder / "samples.jsonl").write_bytes(lines(ONLY_PAIRS, schema="medpo.sample/1", responses=answers))
    return folder


MASKS = ("--mask-cmd", f"{sys.executable} {PLUGIN} sound", "--mask-timeout", "10")
SMALL = ("--model", str(MODEL), "--max-tokens", "8")
COMMANDS: dict[str, tuple[str, ...]] = {
    "corrupt": ("corrupt", "pairs.jsonl", "-o", "o.jsonl"),
    "corrupt cases": ("corrupt", "cases.jsonl", "-o", "o.jsonl", "--jobs", "2"),
    "edit": ("edit", "samples.jsonl", "-o", "o.jsonl"),
    "masks": ("masks", "pairs.jsonl", "-o", "o.jsonl", *MASKS),
    "eval": ("eval", "samples.jsonl", "-o", "o.jsonl", "--bootstrap", "100", "--html", "o.html"),
    "check": ("check", "pairs.jsonl", "--images", "--pairs"),
    "show": ("show", "pairs.jsonl", "-o", "o.html", "--limit", "200"),
    "export": ("export", "fire-mpo", "pairs.jsonl", "-o", "rows.jsonl"),
    "import": ("import", "fire-mpo", "pairs.jsonl", "-o", "o.jsonl"),
    "dry run": ("align", "pairs.jsonl", "--dry-run"),
}
SLOW: dict[str, tuple[str, ...]] = {
    "sample": ("sample", "cases.jsonl", "-o", "o.jsonl", *SMALL),
    "align": ("align", "pairs.jsonl", "-o", "adapter", "--model", str(MODEL), "--rank", "2", "--epochs", "1"),
    "eval with a model": ("eval", "cases.jsonl", "-o", "o.jsonl", *SMALL, "--bootstrap", "100", "--html", "o.html"),
    "saliency": ("masks", "pairs.jsonl", "-o", "o.jsonl", "--regions", "saliency", "--model", str(MODEL)),
}


def survives(medpo: Run, folder: Path, words: tuple[str, ...]) -> None:
    done = medpo(*words)
    assert done.returncode == 3, done.stderr[-3000:]
    assert "Traceback" not in done.stderr
    assert "internal error" not in done.stderr
    assert all(line.isprintable() for line in done.stderr.splitlines())
    if words[0] not in ("import", "export", "show", "check") and "o.jsonl" in words:
        ids = {json.loads(line).get("id", "").split(".")[0] for line in (folder / "o.jsonl").read_text().splitlines()}
        assert {"first", "last"} <= ids


@pytest.mark.parametrize("command", COMMANDS)
def test_a_hostile_record_costs_itself_alone(medpo: Run, hostile: Path, command: str) -> None:
    survives(medpo, hostile, COMMANDS[command])


@pytest.mark.slow
@pytest.mark.parametrize("command", SLOW)
def test_a_hostile_record_costs_itself_alone_with_a_model(medpo: Run, hostile: Path, command: str) -> None:
    survives(medpo, hostile, SLOW[command])


def test_no_line_that_is_no_record_is_taken_for_one(medpo: Run, hostile: Path) -> None:
    """Each gets its own number and code; none of the patched records passes."""
    assert medpo("corrupt", "pairs.jsonl", "-o", "o.jsonl").returncode == 3
    rejects = [json.loads(line) for line in (hostile / "o.jsonl.rejects.jsonl").read_text().splitlines()[:-1]]
    codes = {reject["line"]: reject["code"] for reject in rejects}
    first, last = 2, 1 + len(LINES)
    behind = last + len(CHANGES)
    assert set(range(first, last + 1)) <= codes.keys()
    assert set(range(behind + 1, behind + 1 + len(PATCHES))) <= codes.keys()
    assert {codes[line] for line in range(first, last + 1)} == {"not-json", "bad-record", "too-deep"}
    assert codes[first + LINES.index(b"[" * 100_000)] in ("not-json", "bad-record")
    for path in ("/etc/passwd", "../../../proc/self/mem", "images/../../x.png", "out/x.png", "file:///etc/passwd"):
        place = last + 1 + next(n for n, change in enumerate(CHANGES) if change == image(path=path))
        assert codes[place] == "path-escape", path


# --- sizes ---------------------------------------------------------------------------------------


def limited(words: list[str], folder: Path, mebibytes: int) -> "subprocess.CompletedProcess[str]":
    """Run with little address space, so that a file that is read whole shows."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (mebibytes << 20, mebibytes << 20))

    return subprocess.run([MEDPO, *words], cwd=folder, preexec_fn=limit, capture_output=True, text=True, timeout=120)


def sparse(path: Path, head: bytes, mebibytes: int) -> None:
    """A file whose last line is as long as that, and takes no room on the disk."""
    with path.open("wb") as stream:
        stream.write(head)
        stream.truncate(mebibytes << 20)


@pytest.mark.parametrize("words", [["check", "big.jsonl"], ["corrupt", "big.jsonl"], ["edit", "big.jsonl"]])
def test_an_endless_line_ends_the_run_in_little_memory(folder: Path, words: list[str]) -> None:
    sparse(folder / "big.jsonl", b'{"schema":"medpo.case/1","id":"', 4096)
    done = limited(words, folder, 1200)
    assert done.returncode == 65, done.stderr
    assert re.search(r"line 1 is longer than 64 MiB", done.stderr)


def test_an_endless_row_is_left_out_in_little_memory(folder: Path) -> None:
    sparse(folder / "rows.jsonl", b'{"image":"a.png"}\n{"image":"b.png"}\n{"image":"', 400)
    done = limited(["import", "trl", "rows.jsonl"], folder, 400)
    assert done.returncode == 3, done.stderr
    assert "row 3" in done.stderr


@pytest.mark.parametrize("name", [b"\xff.jsonl", b"\x1b[2J.jsonl", b"a\nb.jsonl", "Ü 研究.jsonl".encode()])
def test_a_strange_name_of_a_file_is_no_trouble(folder: Path, name: bytes) -> None:
    path = folder / os.fsdecode(name)
    path.write_bytes(b"{}\n" + (folder / "cases.jsonl").read_bytes())
    words: list[str | bytes] = [MEDPO, "corrupt", name, "-o", "o.jsonl", "--log-file", "log", "--log-json"]
    done = subprocess.run(words, cwd=folder, capture_output=True, timeout=120, stdin=subprocess.DEVNULL)
    assert done.returncode == 3, done.stderr
    assert all(line.isprintable() for line in done.stderr.decode().splitlines())
    rejects = (folder / "o.jsonl.rejects.jsonl").read_text()
    assert json.loads(rejects.splitlines()[0])["line"] == 1
