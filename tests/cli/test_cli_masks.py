"""``medpo masks`` from the shell, and the reference program under recipes/masks."""

import json
import shlex
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest_cli import END, MEDPO, Run, case

MODEL = Path(__file__).parents[2] / "medpo_cli" / "demo" / "phantom-llava"
PLUGIN = Path(__file__).parents[1] / "data" / "mask_plugin.py"
SAM3 = Path(__file__).parents[2] / "recipes" / "masks" / "sam3.py"
STUB = """
import runpy, sys
plugin = runpy.run_path(sys.argv[1])
def segment(picture, words):
    import numpy
    print("a library prints")
    if words == "nothing":
        return None
    if words == "trouble":
        raise ValueError
    return numpy.asarray(picture)[..., 0] > 150, 0.9
plugin["serve"](segment, "stub", "1")
"""


@pytest.fixture
def bare(folder: Path) -> Path:
    """Cases without regions."""
    (folder / "bare.jsonl").write_text("".join(case(n, regions=None) for n in range(4)) + END)
    return folder


def command(how: str) -> str:
    return shlex.join([sys.executable, str(PLUGIN), how])


def test_masks_then_corrupt(medpo: Run, bare: Path) -> None:
    done = medpo("masks", "bare.jsonl", "--mask-cmd", command("good"), "--targets", "nodule")
    assert done.returncode == 0, done.stderr
    assert "targets found: 4" in done.stderr
    assert "SECRET" not in done.stderr
    corrupted = medpo("corrupt", stdin=done.stdout)
    assert corrupted.returncode == 0, corrupted.stderr
    records = [json.loads(line) for line in corrupted.stdout.splitlines()]
    assert [record["corrupted"]["route"] for record in records[:-1]] == ["lesion"] * 4


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ((), 78),
        (("--mask-cmd", "/no/such/program"), 69),
        (("--mask-cmd", command("short")), 3),
        (("--mask-cmd", command("crash")), 69),
        (("--mask-cmd", command("good"), "--mask-timeout", "0"), 2),
        (("--mask-cmd", command("good"), "--mask-log", "none/such/log"), 73),
        (("--mask-cmd", command("good"), "--folder", "../out"), 78),
    ],
)
def test_exit_codes(medpo: Run, bare: Path, words: tuple[str, ...], code: int) -> None:
    done = medpo("masks", "bare.jsonl", "--targets", "nodule", *words)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr


def test_a_signal_ends_the_program_too(bare: Path) -> None:
    mark = f"time.sleep(600)#{bare.name}"
    (bare / "hang.py").write_text(
        "import json, sys, time\n"
        'print(json.dumps({"protocol": "medpo-masks/1", "name": "hang", "version": "1"}), flush=True)\n'
        "sys.stdin.readline()\n"
        'open("asked", "w").close()\n'
        "time.sleep(600)\n"
    )
    words = ["masks", "bare.jsonl", "--targets", "nodule", "--mask-cmd", shlex.join([sys.executable, "hang.py", mark])]
    process = subprocess.Popen([MEDPO, *words], cwd=bare, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 30
    while not (bare / "asked").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    process.terminate()
    _, said = process.communicate(timeout=30)
    assert process.returncode == 143, said
    assert not [entry for entry in Path("/proc").glob("[0-9]*/cmdline") if mark.encode() in _read(entry)]


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def test_the_reference_program_speaks_the_protocol(medpo: Run, bare: Path) -> None:
    (bare / "stub.py").write_text(STUB)
    stub = shlex.join([sys.executable, "stub.py", str(SAM3)])
    done = medpo("masks", "bare.jsonl", "--mask-cmd", stub, "--targets", "bright spot,nothing")
    assert done.returncode == 0, done.stderr
    assert "targets found: 4" in done.stderr
    assert "targets not-found: 4" in done.stderr
    (region,) = json.loads(done.stdout.splitlines()[0])["regions"]
    assert (region["label"], region["source"], region["score"]) == ("bright spot", "stub:1", 0.9)
    failed = medpo("masks", "bare.jsonl", "--mask-cmd", stub, "--targets", "trouble")
    assert failed.returncode == 3
    assert "mask-error" not in failed.stdout


def test_saliency_of_the_embedded_model(medpo: Run, bare: Path) -> None:
    sampled = medpo("sample", "cases.jsonl", "--model", str(MODEL))
    assert sampled.returncode == 0, sampled.stderr
    done = medpo("masks", "--regions", "saliency", "--replace", stdin=sampled.stdout)
    assert done.returncode == 0, done.stderr
    assert "using the embedded demo model" in done.stderr
    regions = json.loads(done.stdout.splitlines()[0])["regions"]
    assert [(region["label"], region.get("circular")) for region in regions] == [("nodule", None), ("saliency", True)]
    assert medpo("masks", "--regions", "saliency", "--model", "none", stdin=sampled.stdout).returncode == 69
