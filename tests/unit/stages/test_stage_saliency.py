"""``masks --regions saliency``: regions of the policy's own look, marked as such."""

from pathlib import Path

import numpy as np
import pytest
from data.imaging_files import nifti, png

from medpo_cli.errors import RecordError, UnavailableError
from medpo_cli.evaluation.asking import circular, prepare
from medpo_cli.imaging.read import read_image
from medpo_cli.imaging.regions import region_mask
from medpo_cli.io.context import Context
from medpo_cli.schema.config import CorruptConfig, MasksConfig
from medpo_cli.schema.records import Case, ImageRef, Pair, Policy, Region, Response, Sample, Span
from medpo_cli.stages.corrupt import run as corrupt
from medpo_cli.stages.masks import run
from medpo_cli.stages.saliency import answer_of, most_salient, words_about

CHOSEN, REJECTED = "There is a nodule.", "There is no nodule."


@pytest.fixture
def root(tmp_path: Path) -> Path:
    png(tmp_path / "a.png", np.random.default_rng(0).integers(0, 255, (96, 96), dtype=np.uint8))
    return tmp_path


def about(**fields: object) -> dict[str, object]:
    return {"id": "p", "image": ImageRef(path="a.png"), "prompt": "Is there a nodule?", "task": "report"} | fields


def pair(on_policy: str | None = None, chosen: tuple[int, int] = (9, 10), **fields: object) -> Pair:
    spans = [Span(kind="status", label="nodule", chosen=chosen, rejected=(9, 11), source="rules")]
    values = {"chosen": CHOSEN, "rejected": REJECTED, "origin": "corrected", "spans": spans, "on_policy": on_policy}
    return Pair(**about(**values, **fields))  # type: ignore[arg-type]


def masked(root: Path, record: Case, model: Path, **settings: object) -> Case:
    config = MasksConfig(regions="saliency", model=str(model), **settings)  # type: ignore[arg-type]
    (done,) = run([record], config, Context(root))
    return done


@pytest.mark.parametrize("method", ["gradient", "occlusion", "attention"])
def test_the_region_is_as_large_as_asked_and_called_circular(root: Path, demo_model: Path, method: str) -> None:
    done = masked(root, pair(), demo_model, saliency=method, saliency_share=0.1)
    (region,) = done.regions or []
    assert (region.label, region.circular) == ("nodule", True)
    assert (region.source or "").startswith(f"saliency-{method}:")
    mask = region_mask(region, read_image(root / "a.png"), Context(root), None, "$")
    assert mask.sum() == round(0.1 * 96 * 96)
    assert circular(done)
    assert masked(root, pair(), demo_model, saliency=method, saliency_share=0.1) == done


def test_samples_are_about_their_whole_answer_and_cases_about_nothing(root: Path, demo_model: Path) -> None:
    sample = Sample(
        **about(policy=Policy(model="m", digest="d"), responses=[Response(text="Yes.")])  # type: ignore[arg-type]
    )
    (region,) = masked(root, sample, demo_model).regions or []
    assert region.label == "saliency"
    case = Case(**about())  # type: ignore[arg-type]
    assert masked(root, case, demo_model) == case


def test_the_side_that_the_policy_said_is_asked_about() -> None:
    assert answer_of(pair()) == CHOSEN
    assert answer_of(pair("rejected")) == REJECTED
    assert words_about(pair(), "nodule") == [(9, 10)]
    assert words_about(pair("rejected"), "nodule") == [(9, 11)]
    assert words_about(pair(), "saliency") == []
    assert words_about(pair(chosen=(9, 9)), "nodule") is None


def test_an_edit_without_words_on_that_side_has_no_region(root: Path, demo_model: Path) -> None:
    record = pair(chosen=(9, 9))
    assert masked(root, record, demo_model) == record


def test_most_salient_is_exact_and_ties_go_in_reading_order() -> None:
    assert most_salient(np.array([[1.0, 5.0], [3.0, 2.0]]), 0.5).tolist() == [[False, True], [True, False]]
    assert most_salient(np.zeros((2, 2)), 0.25).tolist() == [[True, False], [False, False]]


def test_a_model_is_needed_and_a_stack_needs_its_frame(root: Path, demo_model: Path) -> None:
    with pytest.raises(UnavailableError):
        masked(root, pair(), root / "none")
    with pytest.raises(RecordError) as caught:
        masked(root, pair(image=ImageRef(path="none.png")), demo_model)
    assert caught.value.reason == "file-not-found"


def test_destroying_a_circular_region_is_no_evidence(root: Path) -> None:
    class Arms:
        def question(self, prompt: str, views: list[object]) -> str:
            return "asked"

    for mark in (False, True):
        region = Region(label="nodule", box=(40, 40, 50, 50), circular=mark)
        case = Case(**about(regions=[region]))  # type: ignore[arg-type]
        (destroyed,) = corrupt([case], CorruptConfig(control=False), Context(root))
        assert circular(destroyed) is mark
        asked = prepare(destroyed, Arms(), lambda ref, field: None, grounding=True)  # type: ignore[arg-type, return-value]
        assert asked.lesion == (None if mark else "asked")


@pytest.mark.parametrize("shown", [{"montage": (0, 1)}, {"projection": "max"}])
def test_a_look_at_several_slices_marks_none(root: Path, demo_model: Path, shown: dict[str, object]) -> None:
    nifti(root / "v.nii", np.random.default_rng(0).integers(0, 255, (24, 24, 2), dtype=np.uint8), np.eye(4))
    record = pair(image=ImageRef(path="v.nii", **shown))  # type: ignore[arg-type]
    with pytest.raises(RecordError) as caught:
        masked(root, record, demo_model)
    assert (caught.value.reason, caught.value.path) == ("saliency-unplaced", "$.image")
