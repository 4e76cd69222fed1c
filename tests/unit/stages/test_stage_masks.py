"""``masks``: regions of a program in its own process, and every way in which it can fail."""

import json
import os
import shlex
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from data.imaging_files import RIGHT_ANTERIOR, disc, nifti, png

from medpo_cli.errors import ConfigError, MedpoError, RecordError, UnavailableError
from medpo_cli.imaging.mask_command import Asked, Limits, MaskCommand
from medpo_cli.imaging.read import read_image
from medpo_cli.imaging.regions import region_mask
from medpo_cli.io import child
from medpo_cli.io.context import Context
from medpo_cli.schema.config import CorruptConfig, MasksConfig
from medpo_cli.schema.records import Case, ImageRef, Pair, Region, Span
from medpo_cli.stages.corrupt import run as corrupt
from medpo_cli.stages.masks import run, targets_of

PLUGIN = Path(__file__).parents[2] / "data" / "mask_plugin.py"
SPOT = disc(32, (10, 20), 4)


def command(how: str) -> str:
    return shlex.join([sys.executable, str(PLUGIN), how])


@pytest.fixture
def root(tmp_path: Path) -> Path:
    picture = np.full((32, 32), 60, np.uint8)
    picture[SPOT.T] = 180
    png(tmp_path / "a.png", picture)
    volume = np.full((32, 32, 4), -50, np.int16)
    volume[:, :, 2][SPOT] = 300
    nifti(tmp_path / "v.nii.gz", volume, RIGHT_ANTERIOR)
    nifti(tmp_path / "mirrored.nii.gz", volume, np.eye(4))
    return tmp_path


def pair(*labels: str | None, image: str = "a.png", frame: int | None = None, **fields: object) -> Pair:
    spans = [
        Span(kind="status", label=label, chosen=(n, n + 1), rejected=(n, n + 1), source="rules")
        for n, label in enumerate(labels)
    ]
    return Pair(
        id="p", image=ImageRef(path=image, frame=frame), prompt="SECRET", task="report", chosen="abcdef",
        rejected="ABCDEF", origin="corrected", spans=spans, **fields,  # type: ignore[arg-type]
    )  # fmt: skip


class Notes:
    def __init__(self) -> None:
        self.notes: list[str] = []

    def start(self, what: str, total: int | None = None) -> None: ...

    def advance(self, items: int = 1) -> None: ...

    def note(self, message: str) -> None:
        self.notes.append(message)

    def warn(self, message: str) -> None: ...


def masked(root: Path, records: list[Case], how: str = "good", **settings: object) -> tuple[list[Case], list[str]]:
    notes = Notes()
    config = MasksConfig(mask_cmd=command(how), **settings)  # type: ignore[arg-type]
    return list(run(records, config, Context(root, progress=notes))), notes.notes


def reason(root: Path, how: str, **settings: object) -> str:
    with pytest.raises(MedpoError) as caught:
        masked(root, [pair("nodule")], how, **settings)
    return caught.value.reason if isinstance(caught.value, RecordError) else type(caught.value).__name__


@pytest.mark.parametrize("how", ["good", "png"])
@pytest.mark.parametrize(("image", "frame"), [("a.png", None), ("v.nii.gz", 2), ("mirrored.nii.gz", 2)])
def test_a_mask_is_on_the_images_grid(root: Path, how: str, image: str, frame: int | None) -> None:
    (done,), notes = masked(root, [pair("pleural_effusion", image=image, frame=frame)], how)
    (region,) = done.regions or []
    assert (region.label, region.source, region.score, region.circular) == (
        "pleural_effusion",
        "bright:0.1",
        0.75,
        False,
    )
    source = read_image(root / image)
    mask = region_mask(region, source, Context(root), frame, "$")
    expected = np.zeros(source.shape, bool)
    expected[:, :, frame or 0] = SPOT
    np.testing.assert_array_equal(mask, expected)
    copy = read_image(root / (region.mask.path if region.mask else ""))
    assert copy.array.dtype == np.uint8
    assert (copy.affine is None) == (source.affine is None)
    if source.affine is not None:
        np.testing.assert_array_equal(copy.affine, source.affine)
    assert notes == ["targets found: 1"]
    (destroyed,) = corrupt([done], CorruptConfig(control=False, grow=0), Context(root))
    assert destroyed.corrupted is not None
    assert destroyed.corrupted.region.voxels == SPOT.sum()


def test_what_is_looked_for() -> None:
    config = MasksConfig(targets="nodule, mass ,")
    assert targets_of(pair("Nodule+opacity", "nodule", None), config) == ["nodule", "opacity"]
    assert targets_of(pair(None), config) == ["nodule", "mass"]
    assert targets_of(pair(None), MasksConfig()) == []


def test_records_keep_their_regions_and_nothing_is_asked_twice(root: Path) -> None:
    box = Region(label="Pleural effusion", box=(0, 0, 4, 4))
    records = [pair("nodule", "pleural_effusion", regions=[box]), pair(None), pair("nodule")]
    done, notes = masked(root, records)
    assert [[region.label for region in record.regions or []] for record in done] == [
        ["Pleural effusion", "nodule"], [], ["nodule"],
    ]  # fmt: skip
    assert (done[0].regions or [])[1] == (done[2].regions or [])[0]
    assert notes == ["records that name nothing to look for: 1", "targets found: 2"]
    (replaced,), _ = masked(root, records[:1], replace=True)
    assert [region.box for region in replaced.regions or []] == [None, None]


def test_spans_are_tied_to_the_regions_that_were_found(root: Path) -> None:
    box = Region(label="mass", box=(0, 0, 9, 9))
    (done,), _ = masked(root, [pair("nodule", "mass", None, regions=[box])])
    assert isinstance(done, Pair)
    assert [span.regions for span in done.spans] == [(1,), (0,), None]
    (missed,), _ = masked(root, [pair("nodule", "mass", regions=[box])], "not-found")
    assert isinstance(missed, Pair)
    assert [span.regions for span in missed.spans] == [None, (0,)]


def test_a_lexicon_of_ones_own_knows_other_words_for_a_label(root: Path) -> None:
    words = '[findings.bright_spot]\nname = "bright spot"\nterms = ["bright spot", "glow"]\n'
    (root / "own.toml").write_text('name = "own"\nversion = "1"\nlanguage = "en"\n\n' + words)
    record = pair("bright_spot", regions=[Region(label="glow", box=(0, 0, 9, 9))])
    for lexicon, expected in (("", None), (str(root / "own.toml"), (0,))):
        (done,), _ = masked(root, [record], "not-found", lexicon=lexicon)
        assert isinstance(done, Pair)
        assert done.spans[0].regions == expected


def test_a_case_may_be_shown_at_its_lesion(root: Path) -> None:
    case = Case(id="c", image=ImageRef(path="v.nii.gz", projection="max"), prompt="?", task="report")
    (done,), _ = masked(root, [case], targets="nodule", lesion_slice=True)
    assert done.image == ImageRef(path="v.nii.gz", frame=2)
    answered = pair("nodule", image="v.nii.gz", frame=1)
    (kept,), _ = masked(root, [answered], lesion_slice=True)
    assert kept.image == answered.image  # it was answered as it was seen
    (region,) = done.regions or []
    boxed = Case(
        id="c", image=ImageRef(path="v.nii.gz", frame=0), prompt="?", task="report",
        regions=[region, Region(label="mass", box=(0, 0, 9, 9))],
    )  # fmt: skip
    (kept,), _ = masked(root, [boxed], lesion_slice=True)
    assert kept == boxed  # a box lies on the slice that is shown


@pytest.mark.parametrize(
    ("how", "status"),
    [
        ("not-found", "not-found"), ("no-target", "no-target"), ("low-score", "low-score"),
        ("empty", "too-small"), ("everything", "too-large"),
    ],
)  # fmt: skip
def test_what_is_not_found_leaves_the_record_and_is_counted(root: Path, how: str, status: str) -> None:
    record = pair("nodule")
    done, notes = masked(root, [record], how)
    assert done == [record]
    assert notes == [f"targets {status}: 1"]


def test_a_low_score_is_no_region(root: Path) -> None:
    done, notes = masked(root, [pair("nodule")], min_score=0.8)
    assert done[0].regions is None
    assert notes == ["targets low-score: 1"]


@pytest.mark.parametrize(
    ("how", "code"),
    [
        ("short", "geometry-mismatch"), ("small-png", "geometry-mismatch"), ("float", "mask-not-binary"),
        ("outside", "path-escape"), ("error", "mask-error"), ("crash", "mask-crash"), ("chatter", "mask-protocol"),
        ("endless", "mask-protocol"), ("other", "mask-protocol"), ("forgets", "mask-protocol"),
        ("late", "UnavailableError"), ("stranger", "UnavailableError"),
    ],
)  # fmt: skip
def test_a_program_at_fault_has_its_code(root: Path, how: str, code: str) -> None:
    assert reason(root, how, mask_startup=0.2 if how == "late" else 30.0) == code
    assert not (root / "masks").exists()


def test_a_shifted_mask_is_refused(root: Path) -> None:
    with pytest.raises(RecordError) as caught:
        masked(root, [pair("nodule", image="v.nii.gz", frame=2)], "shifted")
    assert caught.value.reason == "geometry-mismatch"


def test_one_that_hangs_is_ended_with_its_children(root: Path) -> None:
    before = _sleepers()
    start = time.monotonic()
    assert reason(root, "slow", mask_timeout=1.0) == "mask-timeout"
    assert time.monotonic() - start < 20
    deadline = time.monotonic() + 5
    while _sleepers() - before and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _sleepers() - before


def _sleepers() -> set[str]:
    """Processes whose command line is that of the plugin's child."""
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words, state = (entry / "cmdline").read_bytes(), (entry / "stat").read_text()
            except OSError:
                continue
            if b"time.sleep(600)" in words and ") Z" not in state:
                found.add(entry.name)
    return found


def test_after_a_crash_it_is_started_again_and_the_run_goes_on(root: Path) -> None:
    rejects: list[str] = []
    config = MasksConfig(mask_cmd=command("crash-once"))
    records = [pair("nodule"), pair("mass")]
    context = Context(root, reject=lambda _id, error: rejects.append(error.reason))
    done = list(run(records, config, context))
    assert rejects == ["mask-crash"]
    assert [region.label for region in done[0].regions or []] == ["mass"]


def test_after_three_failures_in_a_row_the_run_ends(root: Path) -> None:
    rejects: list[str] = []
    context = Context(root, reject=lambda _id, error: rejects.append(error.reason))
    with pytest.raises(UnavailableError, match="3 times"):
        list(run([pair("a"), pair("b"), pair("c"), pair("d")], MasksConfig(mask_cmd=command("crash")), context))
    assert rejects == ["mask-crash"] * 2


def test_it_sees_no_path_setting_or_word_of_ours(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDPO_ROOT", "SECRET")
    monkeypatch.setenv("VIRTUAL_ENV", "/SECRET")
    with MaskCommand(command("environment"), Limits(30, 30), root / "log") as program:
        _, path, _ = program.ask(Asked(read_image(root / "a.png"), "nodule"))
        assert path is not None
        seen = json.loads(path.parent.with_name("environment.json").read_text())
        home = path.parents[1]
        assert home.stat().st_mode & 0o077 == 0
    assert not home.exists()
    assert "SECRET" not in json.dumps(seen).replace("SECRET words", "")
    assert not {name for name in seen if name.startswith("MEDPO_")} | (seen.keys() & {*child.OURS})
    assert seen["HF_HUB_OFFLINE"] == "1"
    assert "SECRET words" in (root / "log").read_text()


@pytest.mark.parametrize(
    ("words", "error"),
    [("", ConfigError), ("'", ConfigError), ("/no/such/program", UnavailableError), ("true", UnavailableError)],
)
def test_commands_that_cannot_be_used(root: Path, words: str, error: type[MedpoError]) -> None:
    with pytest.raises(error) as caught:
        list(run([pair("nodule")], MasksConfig(mask_cmd=words), Context(root)))
    assert "/no/such" not in str(caught.value)


def test_the_folder_must_lie_under_the_root(root: Path) -> None:
    with pytest.raises(ConfigError):
        list(run([pair("nodule")], MasksConfig(mask_cmd="true", folder="../x"), Context(root)))


def test_bad_records_are_refused_before_anything_is_asked(root: Path) -> None:
    for record, code in [
        (pair("nodule", image="none.png"), "file-not-found"),
        (pair("nodule", image="v.nii.gz", frame=9), "frame-out-of-range"),
    ]:
        with pytest.raises(RecordError) as caught:
            list(run([record], MasksConfig(mask_cmd="/no/such/program"), Context(root)))
        assert caught.value.reason == code
    assert os.listdir(root).count("masks") == 0
