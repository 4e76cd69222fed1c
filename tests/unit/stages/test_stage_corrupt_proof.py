"""``corrupt``: limits, escalation, growth, controls with reasons, workers; and ``check --images`` on the result."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from data.imaging_files import body_picture, disc, nifti, png
from scipy import ndimage

from medpo_cli.cli.check_images import check_images
from medpo_cli.errors import RecordError
from medpo_cli.imaging import nifti as volumes
from medpo_cli.imaging.operators import NEED_NOTHING_AROUND, OPERATORS
from medpo_cli.imaging.read import read_image
from medpo_cli.imaging.regions import grown
from medpo_cli.io.context import Context
from medpo_cli.io.stream import encode
from medpo_cli.schema.config import CorruptConfig
from medpo_cli.schema.records import Case, ImageRef, MaskRef, Pair, Region, Span
from medpo_cli.stages.corrupt import run
from medpo_cli.stages.corrupter import steps

LEFT, RIGHT = disc(96, (30, 50), 6)[:, :, None], disc(96, (62, 40), 5)[:, :, None]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for number in range(3):
        picture = body_picture(seed=number)
        picture[LEFT[:, :, 0].T] += 60
        picture[RIGHT[:, :, 0].T] += 60
        png(tmp_path / f"{number}.png", picture)
    for name, mask in (("left", LEFT), ("right", RIGHT)):
        nifti(tmp_path / f"{name}.nii.gz", mask.astype(np.uint8))
    return tmp_path


def region(label: str, name: str) -> Region:
    return Region(label=label, mask=MaskRef(path=f"{name}.nii.gz"))


def case(name: str = "1", image: int = 0, labels: str = "left right", **fields: object) -> Case:
    regions = [region(label, label) for label in labels.split()]
    values: dict[str, object] = {"image": ImageRef(path=f"{image}.png"), "prompt": "p", "task": "report"} | fields
    return Case(id=name, regions=regions, **values)  # type: ignore[arg-type]


def one(record: Case, root: Path, **settings: object) -> Case:
    (done,) = run([record], CorruptConfig(**({"grow": 0} | settings)), Context(root))  # type: ignore[arg-type]
    return done


def checked(root: Path, record: Case) -> tuple[int, list[str]]:
    """Images that ``medpo check --images`` compares for a record, and the problems it reports."""
    found: list[str] = []
    context = Context(root, reject=lambda _name, error: found.append(f"{error.path} {error.reason}"))
    return check_images(record, context), found


@pytest.mark.parametrize("operator", sorted(OPERATORS))
def test_every_operator_gives_a_proof_that_holds(root: Path, operator: str) -> None:
    done = one(case(labels="left"), root, operator=operator, patch=3)
    assert done.corrupted is not None
    assert done.control is not None
    proof = done.corrupted.region
    assert (proof.side, proof.box) == (336, (24, 44, 0, 37, 57, 1))
    assert proof.remaining is not None
    assert proof.texture is not None
    assert checked(root, done) == (2, [])


def test_the_papers_noise_leaves_evidence_and_the_default_does_not(root: Path) -> None:
    left = {}
    for operator in ("gaussian", "harmonic-texture"):
        done = one(case(), root, operator=operator, control=False)
        assert done.corrupted is not None
        left[operator] = done.corrupted.region
    noise, fill = left["gaussian"], left["harmonic-texture"]
    assert noise.remaining is not None
    assert fill.remaining is not None
    assert noise.remaining > 0.8
    assert abs(fill.remaining) < 0.1
    assert (noise.texture or 0) > 2
    assert 0.8 < (fill.texture or 0) < 1.25


@pytest.mark.parametrize(
    ("settings", "code"),
    [
        ({"operator": "gaussian", "max_remaining": 0.5}, "evidence-left"),
        ({"operator": "gaussian", "max_tell": 1.5}, "tell-tale"),
        ({"operator": "harmonic", "max_tell": 1.5}, "tell-tale"),
    ],
)
def test_limits_reject_before_anything_is_written(root: Path, settings: dict[str, object], code: str) -> None:
    with pytest.raises(RecordError) as caught:
        one(case(), root, **settings)
    assert (caught.value.reason, caught.value.path) == (code, "$.regions")
    assert not (root / "corrupted").exists()
    assert one(case(), root, max_remaining=0.2, max_tell=1.5).corrupted is not None


def test_escalation_takes_the_next_operator_and_makes_the_control_with_it(root: Path) -> None:
    done = one(case(), root, operator="gaussian", max_remaining=0.5, escalate=True)
    plain = one(case(), root)
    assert done == plain  # the first of the order is the default operator, and its files are the same
    assert plain.corrupted is not None
    assert plain.control is not None
    assert plain.control.operator == "harmonic-texture"


def test_escalation_grows_a_tight_region(root: Path) -> None:
    tight = disc(96, (30, 50), 6)[:, :, None]
    nifti(root / "tight.nii.gz", tight.astype(np.uint8))
    blurred = body_picture() + 80 * ndimage.gaussian_filter(disc(96, (30, 50), 7).T.astype(float), 1.5)
    png(root / "0.png", blurred.astype(np.uint8))
    record = case(labels="tight")
    with pytest.raises(RecordError, match="max-remaining"):
        one(record, root, max_remaining=0.15)
    done = one(record, root, max_remaining=0.15, escalate=True)
    assert done.corrupted is not None
    assert done.control is not None
    grow = done.corrupted.parameters["grow"]
    assert isinstance(grow, int)
    assert 1 <= grow <= 3
    assert abs(done.corrupted.region.remaining or 9) < 0.15
    assert done.corrupted.region.voxels == done.control.region.voxels > tight.sum()
    assert checked(root, done) == (2, [])


def test_fills_grow_a_region_unless_told_and_noise_does_not() -> None:
    for name in OPERATORS:
        usual = 0 if name in NEED_NOTHING_AROUND else 2
        assert [step.grow for step in steps(CorruptConfig(operator=name))] == [usual]  # type: ignore[arg-type]
        assert [step.grow for step in steps(CorruptConfig(operator=name, grow=1))] == [1]  # type: ignore[arg-type]
    order = steps(CorruptConfig(operator="gaussian", escalate=True))
    assert [step.grow for step in order] == [0, 2, 3, 4, 5, 3, 3]


def test_the_default_takes_the_rim_too_but_no_lesion_beside_it(root: Path) -> None:
    """The left lesion's mask is split in two findings that touch; the one asked for grows away from the other only."""
    half = LEFT.copy()
    half[: int(np.flatnonzero(LEFT.any(axis=(1, 2))).mean())] = False
    other = LEFT & ~half
    for name, mask in (("half", half), ("other", other)):
        nifti(root / f"{name}.nii.gz", mask.astype(np.uint8))
    span = Span(kind="status", label="half", chosen=(0, 1), rejected=(0, 1), source="rules")
    record = Pair(
        id="p", image=ImageRef(path="0.png"), prompt="p", task="report", chosen="a", rejected="b",
        regions=[region("half", "half"), region("other", "other")], origin="corrected", spans=[span],
    )  # fmt: skip
    done = one(record, root, grow=None, control=False)
    assert done.corrupted is not None
    assert done.corrupted.parameters["grow"] == 2
    source, made = (read_image(root / path).array for path in ("0.png", done.corrupted.image.path))
    changed = source != made
    destroyed = grown(half, 2, LEFT)
    assert done.corrupted.region.voxels == destroyed.sum() > half.sum() + 20
    assert changed[destroyed].mean() > 0.8
    assert not changed[~destroyed].any()
    assert not (destroyed & other).any()
    assert checked(root, done) == (1, [])


def test_the_order_of_steps() -> None:
    assert [(step.operator, step.grow) for step in steps(CorruptConfig(grow=1))] == [("harmonic-texture", 1)]
    order = [(step.operator, step.grow) for step in steps(CorruptConfig(operator="blur", grow=1, escalate=True))]
    assert order[:3] == [("blur", 1), ("harmonic-texture", 1), ("harmonic-texture", 2)]
    assert len(steps(CorruptConfig(escalate=True))) == len(set(steps(CorruptConfig(escalate=True))))


def test_a_feather_stays_inside_the_region(root: Path) -> None:
    done = one(case(labels="left"), root, feather=4)
    assert done.corrupted is not None
    assert done.corrupted.parameters == {"feather": 4}
    array = volumes.decode((root / done.corrupted.image.path).read_bytes()).array.astype(float)
    source = body_picture().T[:, :, None] + 60.0 * (LEFT | RIGHT)
    np.testing.assert_array_equal(array[~LEFT], source[~LEFT])
    assert array[30, 50, 0] < 140  # the middle is filled
    assert array[24, 50, 0] > 150  # at the edge a fifth of the change has come
    assert checked(root, done) == (2, [])


def test_mirror_needs_another_side_for_lesion_and_control(root: Path) -> None:
    both = disc(96, (30, 50), 6) | disc(96, (65, 50), 6)
    nifti(root / "both.nii.gz", both[:, :, None].astype(np.uint8))
    with pytest.raises(RecordError) as caught:
        one(case(labels="both"), root, operator="mirror")
    assert caught.value.reason == "no-mirror"
    assert one(case(labels="both"), root, operator="mirror", escalate=True).corrupted is not None
    done = one(case(labels="left"), root, operator="mirror")
    assert done.corrupted is not None
    assert done.control is not None
    assert done.control.route == "control-shift"  # the mirror site's own mirror is the lesion
    assert abs(done.corrupted.region.remaining or 9) < 0.1


def test_why_there_is_no_control_stands_in_the_record(root: Path) -> None:
    box = Region(label="x", box=(20.0, 20.0, 76.0, 76.0))
    record = Case(id="b", image=ImageRef(path="0.png"), prompt="p", task="report", regions=[box])
    done = one(record, root)
    assert (done.control, done.no_control) == (None, "no-control-site")
    whole = one(Case(id="w", image=ImageRef(path="0.png"), prompt="p", task="report"), root, fallback="whole")
    assert whole.no_control == "whole-image"
    assert one(case(no_control="old"), root).no_control is None
    assert one(case(), root, control=False).no_control is None


@pytest.mark.parametrize(
    ("operator", "used"), [("area-crop", "area-crop"), ("diffusion", "diffusion"), ("mirror", "gaussian")]
)
def test_the_whole_image_gets_the_operator_unless_it_needs_surroundings(root: Path, operator: str, used: str) -> None:
    record = Case(id="w", image=ImageRef(path="0.png"), prompt="p", task="report")
    done = one(record, root, fallback="whole", operator=operator)
    assert done.corrupted is not None
    assert (done.corrupted.operator, done.corrupted.region.fraction) == (used, 1.0)
    assert checked(root, done) == (1, [])


def test_workers_give_the_same_bytes_in_the_same_order(root: Path) -> None:
    bad = case("bad", labels="none")
    records = [case("a"), case("b", labels="left"), bad, case("c", 1), case("d", 2), case("e", 1, labels="right")]
    made = {}
    for jobs in (1, 2):
        rejected: list[tuple[str | None, str, str | None]] = []

        def note(
            name: str | None, error: RecordError, into: list[tuple[str | None, str, str | None]] = rejected
        ) -> None:
            into.append((name, error.reason, error.path))

        config = CorruptConfig(jobs=jobs, images="made")
        done = list(run(iter(records), config, Context(root, reject=note)))
        files = {path.name: path.read_bytes() for path in (root / "made").iterdir()}
        for path in (root / "made").iterdir():
            path.unlink()
        made[jobs] = (done, rejected, files)
    assert made[1] == made[2]
    assert [record.id for record in made[2][0]] == ["a", "b", "c", "d", "e"]
    assert made[2][1] == [("bad", "file-not-found", "$.regions[0].mask.path")]


def test_workers_stop_when_the_stream_is_left(root: Path) -> None:
    stream = run([case(str(n), n % 3) for n in range(30)], CorruptConfig(jobs=2), Context(root))
    assert next(stream).id == "0"
    stream.close()  # type: ignore[attr-defined]


# --- check --images ------------------------------------------------------------------------------


def changed(record: Case, **values: object) -> Case:
    """``record`` with other values at paths such as ``corrupted.region.texture``."""
    import msgspec

    tree = msgspec.to_builtins(record)
    for path, value in values.items():
        *way, last = path.split("__")
        node = tree
        for name in way:
            node = node[name]
        node[last] = value
    return msgspec.convert(tree, type(record))


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"corrupted__region__mask": "0" * 64}, "$.corrupted.region.mask proof-region"),
        ({"corrupted__region__outside": "0" * 64}, "$.corrupted.region.outside proof-outside"),
        ({"corrupted__region__texture": 1.0}, "$.corrupted.region.texture proof-numbers"),
        ({"corrupted__region__remaining": 0.0}, "$.corrupted.region.remaining proof-numbers"),
        ({"corrupted__region__changed": 0.5}, "$.corrupted.region.changed proof-numbers"),
        ({"control__region__box": (0, 0, 0, 9, 9, 1)}, "$.control.region.mask proof-region"),
        ({"control__region__box": (90, 90, 0, 99, 99, 1)}, "$.control.region.mask proof-region"),
        ({"control__route": "lesion"}, "$.control.region.mask proof-region"),
        ({"corrupted__image__sha256": "0" * 64}, "$.corrupted.image.sha256 sha256-mismatch"),
        ({"corrupted__parameters": {"grow": 1}}, "$.corrupted.region.mask proof-region"),
    ],
)
def test_a_claim_that_the_files_do_not_bear_out_is_named(root: Path, values: dict[str, object], problem: str) -> None:
    assert checked(root, changed(one(case(), root), **values))[1] == [problem]


def test_a_touched_file_and_a_moved_mask_are_noticed(root: Path) -> None:
    done = one(case(), root)
    assert done.corrupted is not None
    path = root / done.corrupted.image.path
    image = volumes.decode(path.read_bytes())
    array = image.array.copy()
    array[0, 0] += 1
    path.write_bytes(volumes.encode(image, array))
    without_hash = changed(done, corrupted__image={"path": done.corrupted.image.path})
    assert checked(root, without_hash)[1] == ["$.corrupted.region.outside proof-outside"]
    assert checked(root, done)[1] == ["$.corrupted.image.sha256 sha256-mismatch"]
    path.write_bytes(volumes.encode(dataclasses.replace(image, affine=np.eye(4), grid=None), image.array))
    assert checked(root, without_hash)[1] == ["$.corrupted.image proof-grid"]
    path.unlink()
    done = one(case(), root)
    nifti(root / "left.nii.gz", np.roll(LEFT, 1, 0).astype(np.uint8))
    problems = checked(root, done)[1]
    assert problems == ["$.corrupted.region.mask proof-region", "$.control.region.mask proof-region"]
    (root / "left.nii.gz").unlink()
    assert checked(root, done) == (0, ["$.regions[0].mask.path file-not-found"])


def test_a_control_on_a_lesion_is_a_problem(root: Path) -> None:
    done = one(case(labels="left"), root)
    regions = [{"label": "left", "mask": {"path": "left.nii.gz"}}, {"label": "x", "box": [0, 0, 96, 96]}]
    assert checked(root, changed(done, regions=regions))[1] == ["$.control.region proof-control"]


def test_a_pair_about_one_finding_may_carry_the_image_of_its_case(root: Path) -> None:
    done = one(case(), root, ladder=4)
    spans = [Span(kind="status", label="left", chosen=(0, 1), rejected=(0, 1), source="rules")]
    pair = Pair(
        id="p", image=done.image, prompt="p", task="report", regions=done.regions, corrupted=done.corrupted,
        control=done.control, ext=done.ext, chosen="a", rejected="b", origin="corrected", spans=spans,
    )  # fmt: skip
    assert checked(root, pair) == (4, [])  # corrupted, control and two rungs between


def test_a_rung_that_differs_outside_is_noticed(root: Path) -> None:
    done = one(case(), root, ladder=3)
    assert done.ext is not None
    rung = done.ext["align"]["ladder"][1]
    image = volumes.decode((root / rung["path"]).read_bytes())
    array = image.array.copy()
    array[3, 3] += 1
    (root / rung["path"]).write_bytes(volumes.encode(image, array))
    tree = json.loads(encode(done))
    del tree["ext"]["align"]["ladder"][1]["sha256"]
    assert checked(root, changed(done, ext=tree["ext"]))[1] == ["$.ext.align.ladder[1] proof-outside"]


def test_the_whole_image_and_volumes_have_proofs_that_hold(root: Path) -> None:
    whole = one(Case(id="w", image=ImageRef(path="0.png"), prompt="p", task="report"), root, fallback="whole")
    assert checked(root, whole) == (1, [])
    volume = np.random.default_rng(0).integers(-500, 500, (60, 56, 8)).astype(np.int16)
    affine = np.array([[0.0, 0.7, 0, 5], [0.8, 0, 0.1, -7], [0, 0, 3, 1], [0, 0, 0, 1]])
    mask = np.zeros(volume.shape, np.uint8)
    mask[16:22, 30:36, 3:5] = 1
    nifti(root / "v.nii.gz", volume, affine)
    nifti(root / "m.nii.gz", mask, affine)
    record = case(labels="m", image=0)
    for operator in ("harmonic-texture", "mirror", "biharmonic", "diffusion"):
        done = one(changed(record, image={"path": "v.nii.gz", "frame": 3}), root, operator=operator)
        assert checked(root, done) == (2, [])


def test_a_record_without_corruption_has_nothing_to_prove(root: Path) -> None:
    assert checked(root, case(labels="none")) == (0, [])
