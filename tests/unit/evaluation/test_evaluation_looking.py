"""``eval --attention``: what is looked for, what is counted, and what is said where it cannot be had."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from data.tiny_families import BUILDERS
from data.tiny_guarded import mllama
from PIL import Image

from medpo_cli.errors import ConfigError, RecordError, UsageError
from medpo_cli.evaluation.alignment import box_cover
from medpo_cli.evaluation.arms import ModelArms
from medpo_cli.evaluation.attention_measures import ATTENTION, LAYERED, attention_measure, layers_of
from medpo_cli.evaluation.gate import check_metric
from medpo_cli.evaluation.headline import number
from medpo_cli.evaluation.items import make_score
from medpo_cli.evaluation.looking import Looker
from medpo_cli.evaluation.page.attention import attention_curves, missing
from medpo_cli.evaluation.profiles import PROFILES
from medpo_cli.evaluation.scenes import boxes, cell_shares
from medpo_cli.evaluation.summaries import summarise
from medpo_cli.evaluation.targets import Target, finding_of, targets, words
from medpo_cli.evaluation.text_table import table
from medpo_cli.evaluation.vgmed import FORMS, GENERAL, measure, setting
from medpo_cli.io.context import Context
from medpo_cli.models import tiny
from medpo_cli.models.attention import image_attention
from medpo_cli.models.base import VisionLanguageModel
from medpo_cli.models.places import pixel_budget
from medpo_cli.schema.config import EvalConfig
from medpo_cli.schema.records import Case, ImageRef, Region, Score
from medpo_cli.text.lexicon import load_lexicon

LEXICON = load_lexicon()
NODULE = Region(label="nodule", box=(16, 8, 32, 24))
EFFUSION = Region(label="Pleural effusion", box=(40, 40, 60, 60))
ANSWER = "There is a small nodule in the left lung. No pneumothorax."


def case(root: Path, **changes: Any) -> Case:
    draw = np.random.default_rng(1)
    Image.fromarray(draw.integers(0, 255, (64, 64, 3), dtype=np.uint8)).save(root / "a.png")
    fields: dict[str, Any] = {
        "id": "a", "image": ImageRef(path="a.png"), "prompt": "Is there a nodule?", "reference": "Yes",
        "task": "vqa-closed", "regions": [NODULE, EFFUSION], "group": "g",
    }  # fmt: skip
    return Case(**(fields | changes))


def look(root: Path, model: Any, record: Case, answer: str = ANSWER) -> tuple[Score, Looker]:
    vlm = VisionLanguageModel(*model())
    looker = Looker(Context(root), LEXICON)
    score = make_score(record, "base", {"x": 1.0}, PROFILES["medpo"], answer=answer)
    [found] = looker.looked(record, [score], ModelArms(vlm, EvalConfig()))
    return found, looker


def test_a_question_is_about_the_regions_of_what_it_names(tmp_path: Path) -> None:
    lesion, odd = Region(label="lesion", box=(0, 0, 9, 9)), Region(label="thing x", box=(0, 0, 9, 9))

    def of(prompt: str, *regions: Region, **more: Any) -> list[Target]:
        return targets(case(tmp_path, prompt=prompt, regions=list(regions), **more), LEXICON)

    assert of("Is there a nodule?", NODULE, EFFUSION) == [Target("", (0,))]
    assert of("Is there a pneumothorax?", NODULE, EFFUSION) == []
    assert of("What is wrong?", NODULE, EFFUSION) == [Target("", (0, 1))]
    assert of("Is there a pneumothorax?", odd, NODULE) == [Target("", (0,))]
    report = of("Describe.", NODULE, EFFUSION, NODULE, odd, task="report")
    assert report == [Target("nodule", (0, 2)), Target("pleural_effusion", (1,)), Target("", (3,))]
    own_look = msgspec.structs.replace(NODULE, circular=True)
    assert of("Is there a nodule?", own_look) == []
    assert targets(case(tmp_path, regions=None), LEXICON) == []
    assert finding_of("Pleural-Effusion", LEXICON) == "pleural_effusion"
    assert finding_of("nodule and pneumothorax", LEXICON) == ""
    assert finding_of(lesion.label, LEXICON) in ("", *LEXICON.findings)


def test_words_are_those_that_state_the_finding() -> None:
    told = [ANSWER[start:end] for start, end in words(ANSWER, Target("nodule", (0,)), LEXICON)]
    assert "nodule" in told
    assert "left" in told
    assert words(ANSWER, Target("pneumothorax", (0,)), LEXICON) == []  # denied
    assert words(ANSWER, Target("pleural_effusion", (0,)), LEXICON) == []
    assert words(ANSWER, Target("", (0,)), LEXICON) == [(0, len(ANSWER))]
    assert words(" ", Target("", (0,)), LEXICON) == []


def test_every_region_has_its_own_box_or_the_one_around_its_area(tmp_path: Path) -> None:
    area = np.zeros((64, 64), bool)
    area[5:9, 20:31] = True
    polygon = Region(label="nodule", polygon=[(20, 5), (31, 5), (31, 9)])
    record = case(tmp_path, regions=[NODULE, polygon, polygon])
    assert boxes(record, Target("", (0, 1, 2)), [area, area, area & ~area]) == [NODULE.box, (20.0, 5.0, 31.0, 9.0)]
    assert boxes(record, Target("", (2,)), [area, area, area & ~area]) == []


def test_cells_of_the_picture_hold_their_part_of_the_area() -> None:
    area = np.zeros((48, 96), bool)
    area[:3, :10] = True
    share, seen = cell_shares(area, 24)
    assert seen.all()
    assert share.reshape(24, 24)[:2, :3].tolist() == [[1, 1, 0.5], [0.5, 0.5, 0.25]]
    assert share.sum() * 2 * 4 == area.sum()
    _, few = cell_shares(np.ones((5, 40), bool), 24)
    assert few.sum() == 5 * 24


@pytest.mark.parametrize("kind", ["llava", "qwen2_5_vl", *sorted(BUILDERS)])
def test_every_family_is_measured(tmp_path: Path, kind: str) -> None:
    build: Callable[[], Any] = {"llava": tiny.build_llava, "qwen2_5_vl": tiny.build_qwen2_5_vl, **BUILDERS}[kind]
    score, looker = look(tmp_path, build, case(tmp_path))
    found = score.metrics
    assert looker.note() == ""
    assert score.ext is None
    assert found["x"] == found["attention.wanted"] == found["attention.items"] == found["attention.gradients"] == 1
    assert 0 < found["attention.energy"] < 1
    assert found["attention.area"] == pytest.approx(16 * 16 / 64**2, abs=0.03)
    assert found["attention.gradient_area"] == pytest.approx(16 * 16 / 64**2, abs=0.01)
    layers = sorted(int(key.split("@")[1]) for key in found if key.startswith("attention.energy@"))
    # The window of Gemma's first layer ends before the picture: it is left out, not counted as 0.
    assert layers == ([1] if kind == "gemma3" else list(range(len(layers))))
    by_layer = [found[f"attention.energy@{k}"] for k in layers]
    assert found["attention.energy"] == pytest.approx(np.mean(by_layer), abs=1e-6)
    for form in ("upstream", "firempo"):
        assert found[f"attention.{form}_items"] == 1
        assert 0 <= found[f"attention.{form}_js"] <= math.log(2)
        assert found[f"attention.{form}_kl"] >= 0
        ratios = [found[f"attention.{form}_ar@{k}"] for k in layers]
        assert found[f"attention.{form}_ar"] == pytest.approx(np.mean(ratios), abs=1e-6)


def test_energy_is_what_the_attention_says(tmp_path: Path) -> None:
    """By hand: a grid of 4 x 4 tokens, the box covers the second column of the first and the second row half."""
    score, _ = look(tmp_path, tiny.build_llava, case(tmp_path), "Yes")
    vlm = VisionLanguageModel(*tiny.build_llava())
    view = np.asarray(Image.open(tmp_path / "a.png"))
    answer = vlm.encode_answer("Yes").ids
    counted = torch.tensor([True] * (len(answer) - 1) + [False])
    read = image_attention(vlm, vlm.encode_prompt("Is there a nodule?", [view]), answer, counted)[:, 1:].double()
    part = torch.zeros(4, 4, dtype=torch.double)
    part[0, 1] = part[1, 1] = 0.5  # rows 8 to 24 of cells that are 16 high
    part = part.ravel()
    for k, layer in enumerate(read):
        assert score.metrics[f"attention.energy@{k}"] == pytest.approx(float(layer @ part / layer.sum()), abs=1e-5)
        assert score.metrics[f"attention.pointed@{k}"] == float(part[layer.argmax()] > 0)


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
def test_vgmed_is_the_published_protocol(form: Any) -> None:
    """On a Qwen, as both codes do it: one-word instruction or none, pixel bounds, last token, ratio of two maps."""
    vlm = VisionLanguageModel(*tiny.build_qwen2_5_vl())
    view = np.random.default_rng(5).integers(0, 255, (300, 200, 3), dtype=np.uint8)
    box = (51.0, 20.0, 120.0, 149.0)
    ours = measure(vlm, setting(vlm, form, "Where is it?", [view], [box]))
    behind = " Answer the question using a single word or phrase." if form.name == "upstream" else ""
    low, high = (784, 50_176) if form.name == "upstream" else (None, 512 * 28 * 28)
    with pixel_budget(vlm, low, high):
        prompts = [vlm.encode_prompt(text + behind, [view]) for text in ("Where is it?", GENERAL)]
    q, g = (image_attention(vlm, prompt).double() for prompt in prompts)
    a = q / g.clamp_min(1e-8)
    _, rows, columns = (prompts[0].vision["image_grid_thw"][0] // torch.tensor([1, 2, 2])).tolist()
    m = torch.zeros(rows, columns, dtype=torch.double)
    m[
        math.floor(20 * rows / 300) : math.ceil(149 * rows / 300),
        math.floor(51 * columns / 200) : math.ceil(120 * columns / 200),
    ] = 1
    m = m.ravel()
    for found, layer in zip(ours, a, strict=True):
        p, r = m / m.sum(), layer / layer.sum()
        middle = (p + r) / 2
        kl = (p[p > 0] * (p[p > 0] / r[p > 0]).log()).sum()
        js = (p[p > 0] * (p[p > 0] / middle[p > 0]).log()).sum() / 2 + (r * (r / middle).log()).sum() / 2
        wanted = [float((layer * m).sum() / (layer.mean() * m.sum())), float(kl), float(js)]
        np.testing.assert_allclose(found, wanted, rtol=1e-6)


def test_the_two_forms_differ(tmp_path: Path) -> None:
    score, _ = look(tmp_path, tiny.build_qwen2_5_vl, case(tmp_path))
    assert score.metrics["attention.upstream_ar"] != score.metrics["attention.firempo_ar"]


def test_a_report_is_looked_at_finding_by_finding_and_has_no_vgmed(tmp_path: Path) -> None:
    score, _ = look(tmp_path, tiny.build_llava, case(tmp_path, prompt="Describe.", task="report"))
    found = score.metrics
    assert (found["attention.wanted"], found["attention.items"], found["attention.unsaid"]) == (2, 1, 1)
    assert not any("upstream" in key or "questions" in key for key in found)


def test_a_family_without_a_grid_is_counted_with_its_reason(tmp_path: Path) -> None:
    score, looker = look(tmp_path, mllama, case(tmp_path))
    found = score.metrics
    assert found["attention.unavailable"] == found["attention.vgmed_unavailable"] == found["attention.wanted"] == 1
    assert "attention.items" not in found
    why = (score.ext or {})["attention"]["missing"]
    assert {"attention:attention-unplaced", "upstream:attention-unplaced", "firempo:attention-unplaced"} <= set(why)
    assert "attention:attention-unplaced 1" in looker.note()
    assert "attention:attention-unplaced (1)" in missing([score])
    assert missing([make_score(case(tmp_path), "base", {}, PROFILES["medpo"])]) == ""


def test_what_cannot_be_read_or_seen_is_counted_with_its_reason(tmp_path: Path) -> None:
    empty = Region(label="nodule", box=(900, 900, 950, 950))
    score, looker = look(tmp_path, tiny.build_llava, case(tmp_path, regions=[empty]))
    assert score.metrics["attention.unavailable"] == score.metrics["attention.gradient_unavailable"] == 1
    assert "attention:mask-empty 1" in looker.note()
    Image.new("L", (200, 64)).save(tmp_path / "wide.png")
    record = case(tmp_path, image=ImageRef(path="wide.png"), regions=[Region(label="nodule", box=(0, 0, 20, 60))])
    score, looker = look(tmp_path, tiny.build_llava, record)  # its processor cuts the sides off
    assert "attention:region-unseen 1" in looker.note()
    assert "upstream:region-unseen 1" in looker.note()
    assert score.metrics["attention.vgmed_unavailable"] == 1
    assert "nodule" not in looker.note().casefold()


def test_cases_without_regions_are_left_as_they_are(tmp_path: Path) -> None:
    score, looker = look(tmp_path, tiny.build_llava, case(tmp_path, regions=None))
    assert score.metrics == {"x": 1.0}
    assert looker.note() == ""


def scores_of(values: list[float], layers: int = 2) -> list[Score]:
    out = []
    for k, value in enumerate(values):
        counts = {"attention.wanted": 1.0, "attention.items": 1.0, "attention.energy": value, "attention.area": 0.1}
        for layer in range(layers):
            counts |= {f"attention.items@{layer}": 1.0, f"attention.energy@{layer}": value + 0.1 * layer}
        counts |= {"attention.upstream_items": 1.0, "attention.upstream_kl": 0.4704, "attention.questions": 1.0}
        ext = {"about": {"kind": "position" if k % 2 else "size"}}
        score = Score(id=str(k), group=str(k // 2), task="vqa-closed", metrics=counts, profile="medpo/1", ext=ext)
        out.append(msgspec.structs.replace(score, arm="base"))
    return out


def test_summaries_hold_means_with_intervals_overall_by_layer_and_by_kind() -> None:
    values = [0.1, 0.2, 0.3, 0.4, 0.6, 0.8]
    [summary] = summarise({"base": scores_of(values)}, resamples=500, seed=0, versions={})
    whole, second = summary.metrics["attention.energy"], summary.metrics["attention.energy[layer=1]"]
    assert whole.value == pytest.approx(np.mean(values))
    assert second.value == pytest.approx(np.mean(values) + 0.1)
    assert (whole.n, second.n) == (6, 6)
    # Groups of two, not items, are drawn: no mean can lie below the lowest group's.
    assert whole.low is not None
    assert whole.high is not None
    assert 0.15 - 1e-9 <= whole.low < whole.value < whole.high <= 0.7 + 1e-9
    assert summary.metrics["attention.upstream_kl[kind=size]"].n == 3
    assert layers_of(summary.metrics, "attention.energy") == [0, 1]
    assert "attention.firempo_ar" not in summary.metrics
    shown = table([summary])
    assert "Where it looks" in shown
    assert "0.470" in shown


def test_without_attention_no_measure_of_it_is_computed() -> None:
    plain = [msgspec.structs.replace(score, metrics={"closed.items": 1.0}, ext=None) for score in scores_of([0.1, 0.2])]
    [summary] = summarise({"base": plain}, resamples=100, seed=0, versions={})
    assert not any(name.startswith("attention") for name in summary.metrics)
    assert attention_curves([summary]) == ()


def test_names_of_measures_are_understood_and_wrong_ones_refused() -> None:
    for name in (*ATTENTION, *(f"{one}[layer=11]" for one in LAYERED), "attention.firempo_js[kind=size]"):
        assert attention_measure(name).name == name
        check_metric(name, "here")
    for name in (
        "attention.energy[layer=x]",
        "attention.area[layer=0]",
        "attention.x",
        "attention.energy[kind=a]",
    ):
        with pytest.raises(ConfigError, match="no measure is called"):
            check_metric(name, "here")
    with pytest.raises(ConfigError, match=r"attention\.energy"):
        check_metric("attention.enrgy", "here")


def test_numbers_have_the_digits_of_their_unit() -> None:
    ratio, divergence, share = (ATTENTION[f"attention.{n}"] for n in ("upstream_ar", "upstream_kl", "energy"))
    assert [number(m, 0.47000362) for m in (ratio, divergence, share)] == ["0.47", "0.470", "47.0"]
    assert number(divergence, -0.0001, sign=True) == number(divergence, -0.0001) == "0.000"
    assert number(ratio, 1.5, sign=True) == "+1.50"
    assert number(ratio, -0.2) == "\u22120.20"


def test_charts_have_one_line_an_arm_over_the_layers() -> None:
    base = scores_of([0.1, 0.2, 0.4, 0.3])
    aligned = [msgspec.structs.replace(score, arm="aligned") for score in base]
    summaries = summarise({"base": base, "aligned": aligned}, resamples=100, seed=0, versions={})
    [chart] = attention_curves(summaries)
    assert "10.0 if spread evenly" in chart.title
    assert [(line.name, line.place) for line in chart.lines] == [("base", 0), ("aligned", 1)]
    assert chart.lines[0].points == ((0.0, pytest.approx(25)), (1.0, pytest.approx(35)))


def test_box_cover_of_a_whole_grid_equals_the_picture() -> None:
    assert box_cover([(0, 0, 8, 8)], (8, 8), (8, 8)).all()


def test_arms_that_cannot_be_looked_into_are_refused() -> None:
    from medpo_cli.evaluation.looking import opened

    with pytest.raises(UsageError, match="--attention"):
        opened(object())  # type: ignore[arg-type]


def test_a_setting_without_a_token_is_a_reason() -> None:
    vlm = VisionLanguageModel(*tiny.build_qwen2_5_vl())
    with pytest.raises(RecordError) as caught:
        setting(vlm, FORMS[0], "?", [np.zeros((64, 64, 3), np.uint8)], [])
    assert caught.value.reason == "region-unseen"
