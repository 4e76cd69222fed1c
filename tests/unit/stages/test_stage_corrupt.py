"""``corrupt``: which regions, one file for equal regions, controls, the fallback, and bad records."""

import hashlib
from pathlib import Path

import msgspec
import numpy as np
import pytest
from data.imaging_files import body_picture, ct, dicom, disc, nifti, png

from medpo_cli.errors import ConfigError, RecordError
from medpo_cli.imaging.nifti import decode
from medpo_cli.imaging.window import load_view
from medpo_cli.io.context import Context
from medpo_cli.schema.config import CorruptConfig
from medpo_cli.schema.extras import extras
from medpo_cli.schema.records import Case, ImageRef, MaskRef, Pair, Policy, Region, Response, Sample, Span, Window
from medpo_cli.stages import corrupter
from medpo_cli.stages.corrupt import run
from medpo_cli.stages.corrupt_target import wanted_regions

LEFT, RIGHT = disc(96, (30, 50), 6)[:, :, None], disc(96, (62, 40), 5)[:, :, None]


class Notes:
    def __init__(self) -> None:
        self.notes: list[str] = []

    def start(self, what: str, total: int | None = None) -> None: ...

    def advance(self, items: int = 1) -> None: ...

    def note(self, message: str) -> None:
        self.notes.append(message)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    picture = body_picture()
    picture[LEFT[:, :, 0].T] += 60
    picture[RIGHT[:, :, 0].T] += 60
    png(tmp_path / "a.png", picture)
    nifti(tmp_path / "left.nii.gz", LEFT.astype(np.uint8))
    nifti(tmp_path / "right.nii.gz", RIGHT.astype(np.uint8))
    return tmp_path


def region(label: str, name: str) -> Region:
    return Region(label=label, mask=MaskRef(path=f"{name}.nii.gz"))


BOTH = [region("Pleural effusion", "left"), region("nodule", "right")]


def case(name: str = "1", regions: list[Region] | None = None, **fields: object) -> Case:
    values: dict[str, object] = {"image": ImageRef(path="a.png"), "prompt": "p", "task": "report"} | fields
    return Case(id=name, regions=BOTH if regions is None else regions, **values)  # type: ignore[arg-type]


def pair(*labels: str | None) -> Pair:
    spans = [
        Span(kind="status", label=label, chosen=(n, n + 1), rejected=(n, n + 1), source="rules")
        for n, label in enumerate(labels)
    ]
    return Pair(
        id="p", image=ImageRef(path="a.png"), prompt="p", task="report", regions=BOTH, chosen="abcdef",
        rejected="ABCDEF", origin="corrected", spans=spans,
    )  # fmt: skip


def one(record: Case, root: Path, **settings: object) -> Case:
    (done,) = run([record], CorruptConfig(**({"grow": 0} | settings)), Context(root))  # type: ignore[arg-type]
    return done


def test_pairs_destroy_what_their_spans_are_about() -> None:
    assert [number for number, _ in wanted_regions(pair("nodule"))] == [1]
    assert [number for number, _ in wanted_regions(pair("pleural_effusion", None))] == [0]
    assert [number for number, _ in wanted_regions(pair("cardiomegaly"))] == []
    assert [number for number, _ in wanted_regions(pair(None))] == [0, 1]
    assert [number for number, _ in wanted_regions(case())] == [0, 1]


def test_spans_that_are_tied_destroy_the_regions_they_name() -> None:
    spans = pair("nodule", None).spans
    tied = msgspec.structs.replace(pair(), spans=[msgspec.structs.replace(spans[0], regions=(0,)), spans[1]])
    assert [number for number, _ in wanted_regions(tied)] == [0]


def test_the_view_differs_inside_the_region_only(root: Path) -> None:
    done = one(pair("nodule"), root)
    assert done.corrupted is not None
    before = load_view(ImageRef(path="a.png"), Context(root))
    after = load_view(done.corrupted.image, Context(root))
    mask = RIGHT[:, :, 0].T
    np.testing.assert_array_equal(after[~mask], before[~mask])
    assert (after[mask] != before[mask]).any(axis=-1).mean() > 0.9
    assert done.corrupted.route == "lesion"
    assert done.corrupted.operator == "harmonic-texture"
    proof = done.corrupted.region
    assert proof.voxels == RIGHT.sum()
    assert proof.contrast_before == pytest.approx(60, abs=5)
    assert abs(proof.contrast_after) < 6  # at most 10 % is left


def test_control_is_equal_in_size_and_off_both_lesions(root: Path) -> None:
    done = one(pair("nodule"), root)
    assert done.control is not None
    before = load_view(ImageRef(path="a.png"), Context(root))
    changed = (load_view(done.control.image, Context(root)) != before).any(axis=-1)
    assert done.control.region.voxels == RIGHT.sum()
    assert not changed[(LEFT | RIGHT)[:, :, 0].T].any()
    assert changed.any()
    assert done.control.route.startswith("control-")
    assert one(pair("nodule"), root, control=False).control is None


def test_all_regions_of_a_case_are_destroyed_together(root: Path) -> None:
    done = one(case(), root)
    assert done.corrupted is not None
    assert done.corrupted.region.voxels == (LEFT | RIGHT).sum()


def test_equal_regions_share_one_file_and_records_do_not_matter(root: Path) -> None:
    records = [case("1"), case("2", prompt="other"), pair("pleural effusion", "nodule"), case("3", BOTH[::-1])]
    together = list(run(records, CorruptConfig(), Context(root)))
    assert len({done.corrupted.image.path for done in together if done.corrupted}) == 1
    assert len(list((root / "corrupted").iterdir())) == 2  # lesion and control
    files = {path.name: path.read_bytes() for path in (root / "corrupted").iterdir()}
    for path in (root / "corrupted").iterdir():
        path.unlink()
    alone = one(records[3], root, grow=None)
    assert alone.corrupted == together[3].corrupted
    assert alone.control == together[3].control
    assert {path.name: path.read_bytes() for path in (root / "corrupted").iterdir()} == files


def test_seed_and_operator_are_part_of_the_name(root: Path) -> None:
    names = set()
    for settings in (
        {},
        {"seed": 1},
        {"operator": "harmonic"},
        {"operator": "gaussian"},
        {"operator": "gaussian", "sigma": 9.0},
    ):
        done = one(case(), root, control=False, **settings)
        assert done.corrupted is not None
        names.add(done.corrupted.image.path)
    assert len(names) == 5


def test_paths_are_relative_to_the_root_and_hashes_are_of_the_files(root: Path) -> None:
    done = one(case(), root, images="sub/dir")
    assert done.corrupted is not None
    path = done.corrupted.image.path
    assert path.startswith("sub/dir/")
    assert done.corrupted.image.sha256 == hashlib.sha256((root / path).read_bytes()).hexdigest()
    with pytest.raises(ConfigError):
        list(run([], CorruptConfig(images="../elsewhere"), Context(root)))


def test_without_a_region_the_record_passes_or_falls_back_when_told(root: Path) -> None:
    notes = Notes()
    record = case(regions=[])
    assert list(run([record], CorruptConfig(), Context(root, progress=notes))) == [record]
    assert notes.notes == ["no region to destroy: 1 of 1 records"]
    whole = one(record, root, fallback="whole")
    assert whole.corrupted is not None
    assert (whole.corrupted.route, whole.corrupted.operator) == ("fallback-whole", "gaussian")
    assert whole.corrupted.region.fraction == 1.0
    assert whole.control is None


def test_a_region_above_two_fifths_is_the_whole_image_case(root: Path) -> None:
    record = case(regions=[Region(label="x", box=(0.0, 0.0, 96.0, 40.0))])  # 41.7 %
    notes = Notes()
    assert list(run([record], CorruptConfig(), Context(root, progress=notes))) == [record]
    assert notes.notes == ["region above 40% of the image left alone: 1 of 1 records"]
    whole = one(record, root, fallback="whole")
    assert whole.corrupted is not None
    assert whole.corrupted.route == "fallback-whole"


def test_no_legal_control_is_noted(root: Path) -> None:
    notes = Notes()
    record = case(regions=[Region(label="x", box=(20.0, 20.0, 76.0, 76.0))])  # 34 %, most of the body
    (done,) = run([record], CorruptConfig(), Context(root, progress=notes))
    assert done.corrupted is not None
    assert done.control is None
    assert notes.notes == ["no legal control site: 1 of 1 records"]


def test_samples_keep_what_they_hold(root: Path) -> None:
    sample = Sample(
        id="s", image=[ImageRef(path="a.png"), ImageRef(path="other.png")], prompt="p", task="report", regions=BOTH,
        policy=Policy(model="m", digest="d"), responses=[Response(text="t")], ext={"k": 1},
    )  # fmt: skip
    done = one(sample, root)
    assert isinstance(done, Sample)
    assert done.corrupted is not None
    assert (done.responses, done.ext, done.image) == (sample.responses, sample.ext, sample.image)


def test_a_windowed_image_is_seen_through_its_own_window(root: Path) -> None:
    pixels = np.random.default_rng(0).integers(900, 1100, (64, 64)).astype(np.uint16)
    tags = {"RescaleSlope": 1, "RescaleIntercept": -1024, "WindowCenter": 0, "WindowWidth": 150}
    for name, extra in (("plain", {}), ("inverted", {"PhotometricInterpretation": "MONOCHROME1"})):
        dicom(root / f"{name}.dcm", ct(pixels, **tags, **extra))
    png(root / "deep.png", pixels)
    box = Region(label="x", box=(20.0, 30.0, 32.0, 40.0))
    for ref in (
        ImageRef(path="plain.dcm"), ImageRef(path="inverted.dcm"), ImageRef(path="deep.png"),
        ImageRef(path="plain.dcm", window=Window(center=10, width=99)), ImageRef(path="plain.dcm", frame=0),
    ):  # fmt: skip
        done = one(case(image=ref, regions=[box]), root, operator="gaussian")
        assert done.corrupted is not None
        before, after = load_view(ref, Context(root)), load_view(done.corrupted.image, Context(root))
        inside = np.zeros((64, 64), bool)
        inside[30:40, 20:32] = True
        np.testing.assert_array_equal(after[~inside], before[~inside])
        assert (after[inside] != before[inside]).any()


def test_a_volume_slice_is_seen_the_same_outside(root: Path) -> None:
    rng = np.random.default_rng(0)
    volume = rng.integers(-500, 500, (40, 36, 8)).astype(np.int16)
    affine = np.array([[0.0, 0.7, 0, 5], [0.8, 0, 0.1, -7], [0, 0, 3, 1], [0, 0, 0, 1]])
    nifti(root / "v.nii.gz", volume, affine)
    mask = np.zeros(volume.shape, np.uint8)
    mask[10:16, 20:26, 3:5] = 1
    nifti(root / "m.nii.gz", mask, affine)
    ref = ImageRef(path="v.nii.gz", frame=3)
    done = one(case(image=ref, regions=[region("x", "m")]), root)
    assert done.corrupted is not None
    assert done.control is not None
    assert done.corrupted.image.frame == 3
    before, after = load_view(ref, Context(root)), load_view(done.corrupted.image, Context(root))
    assert (before != after).any(axis=-1).sum() <= 36
    assert (before != after).any()


@pytest.mark.parametrize(
    ("code", "path", "record"),
    [
        ("file-not-found", "$.image.path", case(image=ImageRef(path="none.png"))),
        ("path-escape", "$.image[0].path", case(image=[ImageRef(path="../a.png")])),
        ("sha256-mismatch", "$.image.sha256", case(image=ImageRef(path="a.png", sha256="0" * 64))),
        ("frame-out-of-range", "$.image.frame", case(image=ImageRef(path="a.png", frame=1))),
        ("file-not-found", "$.regions[1].mask.path", case(regions=[BOTH[0], region("x", "none")])),
        ("mask-empty", "$.regions[0]", case(regions=[Region(label="x", box=(200.0, 0.0, 210.0, 9.0))])),
        ("no-effect", "$.regions", case(regions=[Region(label="x", box=(0.0, 0.0, 9.0, 9.0))])),
    ],
)
def test_bad_records_are_rejected_by_place_and_the_rest_goes_on(root: Path, code: str, path: str, record: Case) -> None:
    rejected: list[tuple[str | None, RecordError]] = []
    context = Context(root, reject=lambda name, error: rejected.append((name, error)))
    good = list(run([case("a"), record, case("b")], CorruptConfig(), context))
    assert [done.id for done in good] == ["a", "b"]
    assert [(name, error.reason, error.path) for name, error in rejected] == [("1", code, path)]


def test_images_are_forced_to_the_disk_when_the_stage_ends_or_is_left(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    monkeypatch.setattr(corrupter, "sync_file", lambda path: synced.append(path.name))
    list(run([case("1"), case("2")], CorruptConfig(), Context(root)))
    assert sorted(synced) == sorted(path.name for path in (root / "corrupted").iterdir())
    synced.clear()
    stream = run([case("1"), case("2")], CorruptConfig(), Context(root))
    next(stream)
    stream.close()  # type: ignore[attr-defined]
    assert len(synced) == 2


def test_records_are_read_one_at_a_time(root: Path) -> None:
    def endless():  # type: ignore[no-untyped-def]
        number = 0
        while True:
            number += 1
            yield case(str(number))
            assert number < 3

    stream = run(endless(), CorruptConfig(), Context(root))
    assert [next(stream).id, next(stream).id] == ["1", "2"]


def test_a_merged_edit_is_about_each_of_its_findings() -> None:
    image, box = ImageRef(path="x.png"), (0.0, 0.0, 4.0, 4.0)
    spans = [Span(kind="status", label="nodule+pleural_effusion", chosen=(0, 1), rejected=(0, 1), source="rule")]
    pair = Pair(
        id="p",
        image=image,
        prompt="?",
        task="report",
        chosen="ab",
        rejected="cb",
        origin="corrected",
        spans=spans,
        regions=[Region(label=label, box=box) for label in ("opacity", "Pleural effusion", "nodule")],
    )
    assert [number for number, _ in wanted_regions(pair)] == [1, 2]


def test_a_ladder_runs_from_the_clean_to_the_corrupted_image(root: Path) -> None:
    source = ImageRef(path="a.png", sha256=hashlib.sha256((root / "a.png").read_bytes()).hexdigest())
    record = case(image=source, ext={"mine": 1, "align": {"only": "chosen"}})
    done = one(record, root, ladder=5, operator="gaussian")
    assert done.corrupted is not None
    assert done.ext is not None
    assert (done.ext["mine"], done.ext["align"]["only"]) == (1, "chosen")
    rungs = extras(done).ladder or []
    assert (len(rungs), rungs[0], rungs[4]) == (5, source, done.corrupted.image)
    views = [load_view(rung, Context(root)).astype(float)[..., 0] for rung in rungs]  # the hashes are checked here
    mask = (LEFT | RIGHT)[:, :, 0].T
    for step, view in enumerate(views):
        np.testing.assert_array_equal(view[~mask], views[0][~mask])
        assert np.abs(view - views[0] - step / 4 * (views[4] - views[0])).max() <= 0.5
    assert len(list((root / "corrupted").iterdir())) == 5  # corrupted, control and three between
    assert record.ext == {"mine": 1, "align": {"only": "chosen"}}


def test_ladders_share_files_by_content_and_steps(root: Path) -> None:
    first, second = (one(case(name), root, ladder=3, control=False) for name in "12")
    longer = one(case("3"), root, ladder=5, control=False)
    assert first.ext == second.ext
    assert first.ext is not None
    assert longer.ext is not None
    middle, quarters = first.ext["align"]["ladder"][1], longer.ext["align"]["ladder"]
    assert middle == quarters[2]  # half of three is half of five
    assert len(list((root / "corrupted").iterdir())) == 1 + 3
    assert one(case("4"), root, ladder=2).ext == {"align": {"ladder": [quarters[0], quarters[4]]}}


def test_a_ladder_of_a_volume_keeps_integers_and_all_else(root: Path) -> None:
    volume = np.random.default_rng(0).integers(-500, 500, (40, 36, 8)).astype(np.int16)
    affine = np.diag([0.7, 0.8, 3.0, 1.0])
    nifti(root / "v.nii.gz", volume, affine)
    mask = np.zeros(volume.shape, np.uint8)
    mask[10:16, 20:26, 3:5] = 1
    nifti(root / "m.nii.gz", mask, affine)
    ref = ImageRef(path="v.nii.gz", frame=3, window=Window(center=0, width=1000))
    done = one(case(image=ref, regions=[region("x", "m")]), root, ladder=4)
    rungs = extras(done).ladder or []
    assert all((rung.frame, rung.window) == (ref.frame, ref.window) for rung in rungs)
    arrays = [decode((root / rung.path).read_bytes()).array for rung in rungs]
    assert {array.dtype for array in arrays} == {np.dtype(np.int16)}
    inside = mask.astype(bool)
    for step, array in enumerate(arrays):
        np.testing.assert_array_equal(array[~inside], volume[~inside])
        exact = volume + step / 3 * (arrays[3].astype(float) - volume)
        assert np.abs(array - exact).max() <= 0.5


def test_no_ladder_without_a_region_or_when_malformed(root: Path) -> None:
    assert one(case(regions=[]), root, ladder=5).ext is None
    whole = one(case(regions=[]), root, ladder=5, fallback="whole")
    assert whole.corrupted is not None
    assert whole.ext is None
    assert one(case(), root).ext is None
    with pytest.raises(RecordError) as caught:
        one(case(ext={"align": {"laddr": []}}), root, ladder=5)
    assert (caught.value.reason, caught.value.path) == ("extras-malformed", "$.ext.align")
    with pytest.raises(ConfigError, match="ladder: at least 2"):
        list(run([], CorruptConfig(ladder=1), Context(root)))
