"""``medpo masks`` from the shell, and the reference program under recipes/masks."""

import json
import shlex
import sys
from pathlib import Path

import pytest
from conftest_cli import END, Run, case

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
