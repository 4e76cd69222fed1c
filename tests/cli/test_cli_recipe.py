"""``medpo recipe`` and ``medpo init`` from the shell, in the checkout and from a wheel's files."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest_cli import Run

ROOT = Path(__file__).parents[2]


def test_ls_shows_every_recipe_on_80_columns(medpo: Run) -> None:
    done = medpo("recipe", "ls")
    assert done.returncode == 0, done.stderr
    names = {line.split()[0] for line in done.stdout.splitlines() if not line.startswith(" ")}
    recipes = {path.stem for path in (ROOT / "recipes").glob("*.toml")}
    assert recipes | {"nightly.sh", "masks/sam3.py"} <= names
    assert "README.md" not in names
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_ls_finds_by_name_and_description(medpo: Run) -> None:
    assert [line.split()[0] for line in medpo("recipe", "ls", "12 GB").stdout.splitlines()[:1]] == ["qlora-12gb"]
    assert medpo("recipe", "ls", "no such thing").returncode == 66


def test_cp_writes_the_file_once(medpo: Run, folder: Path) -> None:
    done = medpo("recipe", "cp", "mdpo")
    assert done.returncode == 0, done.stderr
    assert (folder / "mdpo.toml").read_bytes() == (ROOT / "recipes" / "mdpo.toml").read_bytes()
    assert done.stdout == ""
    assert medpo("recipe", "cp", "mdpo.toml").returncode == 73
    assert medpo("recipe", "cp", "mdpo.toml", "--force").returncode == 0
    (folder / "sub").mkdir()
    assert medpo("recipe", "cp", "masks/sam3.py", "sub").returncode == 0
    assert (folder / "sub" / "sam3.py").is_file()


def test_cp_brings_what_a_program_imports(medpo: Run, folder: Path) -> None:
    done = medpo("recipe", "cp", "metrics/bertscore.py")
    assert done.returncode == 0, done.stderr
    assert "bertscore.py and serving.py" in done.stderr
    assert (folder / "serving.py").read_bytes() == (ROOT / "recipes" / "metrics" / "serving.py").read_bytes()
    assert medpo("recipe", "cp", "metrics/chexbert.py").returncode == 0  # the same companion is no conflict
    (folder / "serving.py").write_text("mine")
    assert medpo("recipe", "cp", "metrics/ratescore.py").returncode == 73
    assert not (folder / "ratescore.py").exists()
    assert (folder / "serving.py").read_text() == "mine"


@pytest.mark.parametrize("name", ["qlora", "mpdo", "../pyproject", "/etc/passwd"])
def test_cp_of_nothing_names_the_nearest(medpo: Run, folder: Path, name: str) -> None:
    done = medpo("recipe", "cp", name)
    assert done.returncode == 66
    assert ("did you mean" in done.stderr) == (name in ("qlora", "mpdo"))
    assert {path.name for path in folder.iterdir()} == {"images", "cases.jsonl"}


def test_init_then_the_stages_find_their_inputs(medpo: Run, folder: Path, demo_model: Path) -> None:
    assert medpo("init", "--model", str(demo_model)).returncode == 0
    assert medpo("init").returncode == 73
    done = medpo("sample", "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "4 records can be used" in done.stderr


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files that a wheel would hold."""
    source, library = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("lib")
    for name in ("recipes", "medpo_cli"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    words = [sys.executable, "setup.py", "-q", "build_py", "--build-lib", str(library)]
    subprocess.run(words, cwd=source, check=True, capture_output=True)
    return library


def test_a_wheel_brings_the_recipes(built: Path, folder: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(built)}
    code = "import medpo_cli, sys; sys.stderr.write(medpo_cli.__file__); from medpo_cli.cli.main import main; main()"
    words = [sys.executable, "-c", code, "recipe", "cp", "paper"]
    done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert str(built) in done.stderr
    assert (folder / "paper.toml").read_bytes() == (ROOT / "recipes" / "paper.toml").read_bytes()
    there = {path.name for path in (built / "medpo_cli" / "recipes").rglob("*") if path.is_file()}
    assert there == {path.name for path in (ROOT / "recipes").rglob("*") if path.is_file() and path.suffix != ".pyc"}
