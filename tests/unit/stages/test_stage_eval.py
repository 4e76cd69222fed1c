"""The eval stage with arms that answer by rule: what is asked, scored, rejected, summarised and shown."""

import hashlib
import math
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import numpy as np
import pytest
from data.judges import JudgeStub, perfect
from PIL import Image

from medpo_cli.errors import NoInputError, RecordError, TryLaterError
from medpo_cli.evaluation.arms import Arms, Likelihood, Question, Stated, View, YesNo
from medpo_cli.evaluation.comparisons import compare
from medpo_cli.io.context import Context
from medpo_cli.schema.config import EvalConfig
from medpo_cli.schema.records import (
    Case,
    Corrupted,
    ImageRef,
    MaskRef,
    Pair,
    Policy,
    Ranking,
    Region,
    RegionProof,
    Response,
    Sample,
    Score,
    Summary,
)
from medpo_cli.stages import eval as stage

TRUTH = "There is a small left pleural effusion. No pneumothorax."
DENIED = "No pleural effusion. No pneumothorax."
INTACT, DESTROYED, ELSEWHERE, TWIN = 10, 20, 30, 40
Say = Callable[[str, str, int], str]
CONFIG = EvalConfig(bootstrap=100, batch=2)


class FakeArms:
    """Answers by ``say(arm, prompt, grey level of the first image)``; likes chosen answers on intact images."""

    def __init__(self, say: Say, names: tuple[str, ...] = ("base", "aligned")) -> None:
        self._say = say
        self.names = names
        self.versions = {"model": "fake@0"}
        self.facts = {"device": "cpu", "model_digest": "0" * 64}
        self.asked: list[tuple[str, int]] = []

    def question(self, prompt: str, images: Sequence[View]) -> Question:
        if "<control>" in prompt:
            raise RecordError("prompt-control-token", "the prompt holds a control token", "$.prompt")
        return Question(prompt, images)

    def check(self, answer: str) -> None:
        if "<image>" in answer:
            raise RecordError("answer-control-token", "an answer holds the image token")

    def answers(self, arm: str, questions: Sequence[Question]) -> list[str]:
        self.asked += [(arm, int(item.images[0][0, 0, 0])) for item in questions]
        return [self._say(arm, item.prompt, int(item.images[0][0, 0, 0])) for item in questions]

    def logprobs(self, arm: str, items: Sequence[Stated]) -> list[Likelihood]:
        intact = {"base": {INTACT, DESTROYED, ELSEWHERE}, "aligned": {INTACT, ELSEWHERE}}[arm]
        likely = [(one.answer == TRUTH) is (int(one.question.images[0][0, 0, 0]) in intact) for one in items]
        return [Likelihood(-1.0, -0.5, 1) if yes else Likelihood(-3.0, -2.0, 1) for yes in likely]

    def yes_no(self, arm: str, questions: Sequence[Question]) -> list[YesNo] | None:
        """p(yes) .9 where the arm says yes, else .2."""
        said = [self._say(arm, item.prompt, int(item.images[0][0, 0, 0])).startswith("Yes") for item in questions]
        return [YesNo(math.log(0.9), math.log(0.1)) if yes else YesNo(math.log(0.2), math.log(0.8)) for yes in said]


def faithful(arm: str, _prompt: str, level: int) -> str:
    """The aligned arm says what the image shows; the base always says effusion."""
    return TRUTH if arm == "base" or level in (INTACT, ELSEWHERE) else DENIED


def _png(root: Path, name: str, level: int) -> ImageRef:
    path = root / name
    pixels = np.full((12, 12), level, np.uint8)
    Image.fromarray(pixels).save(path)
    return ImageRef(path=name, sha256=hashlib.sha256(path.read_bytes()).hexdigest())


def _corrupted(ref: ImageRef, route: str) -> Corrupted:
    proof = RegionProof(
        mask="0" * 64, voxels=9, fraction=0.1, changed=1.0, outside="1" * 64, contrast_before=5.0, contrast_after=0.0
    )
    return Corrupted(image=ref, operator="harmonic-texture", parameters={}, seed=0, region=proof, route=route)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    levels = {"intact": INTACT, "destroyed": DESTROYED, "control": ELSEWHERE, "twin": TWIN}
    for name, level in levels.items():
        _png(tmp_path, f"{name}.png", level)
    mask = np.zeros((12, 12), np.uint8)
    mask[3:6, 2:8] = 1
    Image.fromarray(mask).save(tmp_path / "mask.png")
    return tmp_path


def _ref(root: Path, name: str) -> ImageRef:
    return ImageRef(path=f"{name}.png", sha256=hashlib.sha256((root / f"{name}.png").read_bytes()).hexdigest())


def case(root: Path, item: str = "a", **changes: object) -> Case:
    fields: dict[str, object] = {
        "id": item,
        "image": _ref(root, "intact"),
        "prompt": "Describe the findings.",
        "reference": TRUTH,
        "task": "report",
        "group": f"g-{item}",
        "regions": [Region(label="Pleural effusion", mask=MaskRef(path="mask.png"))],
        "corrupted": _corrupted(_ref(root, "destroyed"), "lesion"),
        "control": _corrupted(_ref(root, "control"), "control-mirror"),
        "ext": {"twins": {"pleural_effusion": "twin.png"}},
    }
    return Case(**(fields | changes))  # type: ignore[arg-type]


def run(
    root: Path, records: Sequence[Case], say: Say = faithful, *, config: EvalConfig = CONFIG, arms: Arms | None = None
) -> tuple[list[Score], list[Summary]]:
    out = list(stage.run(records, config, Context(root), open_arms=lambda _: arms or FakeArms(say)))
    return [r for r in out if isinstance(r, Score)], [r for r in out if isinstance(r, Summary)]


def test_scores_come_per_case_and_arm_then_summaries(root: Path) -> None:
    scores, summaries = run(root, [case(root, str(k)) for k in range(9)])
    assert [(score.id, score.arm) for score in scores] == [
        (str(k), arm) for k in range(9) for arm in ("base", "aligned")
    ]
    assert [(s.arm, s.against) for s in summaries] == [("base", None), ("aligned", None), ("aligned", "base")]
    assert summaries[0].versions["model"] == "fake@0"
    assert len(summaries[0].versions["lexicon"]) == 16


def test_a_grounded_arm_flips_for_the_lesion_only(root: Path) -> None:
    base, aligned = run(root, [case(root)])[0]
    for score, flips in ((base, 0), (aligned, 1)):
        assert score.metrics["report.lesion_chances"] == score.metrics["report.control_chances"] == 1
        assert score.metrics["report.flips_lesion"] == score.metrics["report.flips_excess"] == flips
        assert score.metrics["report.flips_control"] == 0
        assert score.metrics["report.flips_twin"] == flips
        assert score.answer == TRUTH


def test_drift_is_measured_against_the_base(root: Path) -> None:
    base, aligned = run(root, [case(root)], lambda arm, *_: "A b c d" if arm == "base" else "A b x d")[0]
    assert "report.drift" not in base.metrics
    assert aligned.metrics["report.drift"] == 0.25


def test_without_grounding_only_the_intact_image_is_asked_about(root: Path) -> None:
    arms = FakeArms(faithful)
    run(root, [case(root)], arms=arms, config=msgspec.structs.replace(CONFIG, grounding=False))
    assert arms.asked == [("base", INTACT), ("aligned", INTACT)]


def test_twins_are_asked_about_only_when_the_finding_was_asserted(root: Path) -> None:
    arms = FakeArms(lambda *_: DENIED)
    scores, _ = run(root, [case(root)], arms=arms)
    assert TWIN not in {level for _, level in arms.asked}
    assert "report.twin_chances" not in scores[0].metrics


def test_a_fallback_corruption_says_nothing_about_the_lesion(root: Path) -> None:
    record = case(root, corrupted=_corrupted(_ref(root, "destroyed"), "fallback-whole"), control=None)
    assert "report.flips_lesion" not in run(root, [record])[0][0].metrics


def test_without_a_control_there_is_no_specificity(root: Path) -> None:
    _, summaries = run(root, [case(root, control=None)])
    assert "report.flip_lesion" in summaries[0].metrics
    assert "report.specificity" not in summaries[0].metrics


def test_closed_and_open_questions(root: Path) -> None:
    records = [
        case(root, "c", task="vqa-closed", prompt="Is there an effusion?", reference="Yes."),
        case(root, "o", task="vqa-open", prompt="Which side?", reference="The left."),
    ]
    says = {"Is there an effusion?": {INTACT: "Yes.", ELSEWHERE: "Yes."}, "Which side?": {INTACT: "the left"}}
    scores, summaries = run(root, records, lambda _arm, prompt, level: says[prompt].get(level, "No."))
    closed, opened = scores[0].metrics, scores[2].metrics
    assert (closed["closed.right"], closed["closed.flips_excess"], closed["closed.flips_twin"]) == (1, 1, 1)
    assert (opened["open.exact"], opened["open.flips_lesion"], opened["open.flips_control"]) == (1, 1, 1)
    assert summaries[0].metrics["closed.accuracy"].value == summaries[0].metrics["open.exact"].value == 1


def test_samples_are_scored_without_a_model(root: Path) -> None:
    def refuse(_config: EvalConfig) -> Arms:
        raise NoInputError("no model must be loaded")

    sample = msgspec.structs.asdict(case(root)) | {"policy": Policy(model="m", digest="d")}
    records = [
        Sample(**(sample | {"id": "one", "responses": [Response(text=TRUTH)]})),
        Sample(**(sample | {"id": "two", "responses": [Response(text=TRUTH), Response(text=DENIED)]})),
    ]
    out = list(stage.run(records, CONFIG, Context(root), open_arms=refuse))
    one, two, summary = out
    assert isinstance(one, Score)
    assert isinstance(two, Score)
    assert (one.arm, one.answer, one.metrics["report.right"]) == ("given", TRUTH, 2)
    assert (two.answer, two.metrics["report.right"], two.metrics["report.statements"]) == (None, 1.5, 2)
    assert isinstance(summary, Summary)
    assert summary.metrics["report.finding_accuracy"].value == 3.5 / 4


def _pair(root: Path, item: str = "p") -> Pair:
    fields = msgspec.structs.asdict(case(root, item)) | {"ext": None}
    return Pair(**fields, chosen=TRUTH, rejected=DENIED, origin="corrected", spans=[])


def test_pairs_measure_preference_and_reversal(root: Path) -> None:
    base, aligned = run(root, [_pair(root)])[0]
    # base prefers chosen everywhere; aligned turns round where the lesion is destroyed
    assert [base.metrics[f"pair.{name}"] for name in ("preferred", "reversals_lesion", "reversals_control")] == [
        1,
        0,
        0,
    ]
    assert [aligned.metrics[f"pair.{name}"] for name in ("preferred", "reversals_lesion", "reversals_control")] == [
        1,
        1,
        0,
    ]
    assert base.metrics["pair.margin"] == 2.0


def test_a_pair_with_an_image_token_is_rejected_and_the_others_are_scored(root: Path) -> None:
    rejects: list[tuple[str | None, str]] = []
    context = Context(root, reject=lambda name, error: rejects.append((name, error.reason)))
    bad = msgspec.structs.replace(_pair(root, "bad"), chosen="<image> " + _pair(root).chosen, spans=[])
    out = list(stage.run([bad, _pair(root, "good")], CONFIG, context, open_arms=lambda _: FakeArms(faithful)))
    assert rejects == [("bad", "answer-control-token")]
    assert {score.id for score in out if isinstance(score, Score)} == {"good"}


def test_cases_and_pairs_keep_their_order(root: Path) -> None:
    scores, summaries = run(root, [case(root, "a"), _pair(root, "b"), case(root, "c")])
    assert [score.id for score in scores[::2]] == ["a", "b", "c"]
    assert {"pair.accuracy", "report.finding_accuracy"} <= set(summaries[0].metrics)


@pytest.mark.parametrize(
    ("changes", "reason", "path"),
    [
        ({"reference": None}, "reference-missing", "$.reference"),
        ({"reference": "  "}, "reference-missing", "$.reference"),
        ({"image": ImageRef(path="gone.png")}, "file-not-found", "$.image.path"),
        ({"prompt": "<control>"}, "prompt-control-token", "$.prompt"),
        ({"ext": {"twins": ["twin.png"]}}, "twins-malformed", "$.ext.twins"),
        ({"ext": {"twins": {"nodule": "gone.png"}}}, "file-not-found", "$.ext.twins[0].path"),
        ({"ext": {"twins": {"nodule": "../out.png"}}}, "path-escape", "$.ext.twins[0].path"),
    ],
)
def test_records_that_cannot_be_scored_are_rejected(
    root: Path, changes: dict[str, object], reason: str, path: str
) -> None:
    rejected: list[tuple[str | None, RecordError]] = []
    context = Context(root, reject=lambda item, error: rejected.append((item, error)))
    records = [case(root, "bad", **changes), case(root, "good")]
    out = list(stage.run(records, CONFIG, context, open_arms=lambda _: FakeArms(faithful)))
    assert [record.id for record in out if isinstance(record, Score)] == ["good", "good"]
    [(item, error)] = rejected
    assert (item, error.reason, error.path) == ("bad", reason, path)
    assert TRUTH not in str(error)


def test_corrupted_image_of_another_content_is_rejected(root: Path) -> None:
    wrong = ImageRef(path="destroyed.png", sha256="0" * 64)
    with pytest.raises(RecordError, match="not the one") as caught:
        run(root, [case(root, corrupted=_corrupted(wrong, "lesion"))])
    assert caught.value.path == "$.corrupted.image.sha256"


def test_ids_occur_once_and_samples_stand_alone(root: Path) -> None:
    with pytest.raises(RecordError) as caught:
        run(root, [case(root), case(root)])
    assert caught.value.reason == "duplicate-id"
    given = msgspec.structs.asdict(case(root, "s"))
    sample = Sample(**given, policy=Policy(model="m", digest="d"), responses=[Response(text=TRUTH)])
    with pytest.raises(RecordError) as caught:
        run(root, [case(root), sample])
    assert caught.value.reason == "mixed-kinds"


def test_rankings_are_refused(root: Path) -> None:
    ranking = Ranking(
        **msgspec.structs.asdict(case(root)), responses=[{"text": "a", "reward": 1.0}, {"text": "b", "reward": 0.0}]
    )
    with pytest.raises(RecordError, match="only cases, samples and pairs"):
        run(root, [ranking])


def test_several_images_keep_their_place_behind_the_first(root: Path) -> None:
    seen: list[list[int]] = []

    class Watching(FakeArms):
        def question(self, prompt: str, images: Sequence[View]) -> Question:
            seen.append([int(image[0, 0, 0]) for image in images])
            return super().question(prompt, images)

    record = case(root, image=[_ref(root, "intact"), _ref(root, "twin")])
    run(root, [record], arms=Watching(faithful))
    assert seen == [[INTACT, TWIN], [DESTROYED, TWIN], [ELSEWHERE, TWIN], [TWIN, TWIN]]


def test_nothing_in_nothing_out(root: Path) -> None:
    assert run(root, []) == ([], [])


def test_no_model_before_the_first_record(root: Path) -> None:
    def records() -> object:
        assert not opened
        yield case(root)

    opened: list[bool] = []

    def open_arms(_config: EvalConfig) -> Arms:
        opened.append(True)
        return FakeArms(faithful)

    assert list(stage.run(records(), CONFIG, Context(root), open_arms=open_arms))  # type: ignore[arg-type]
    assert opened == [True]


def test_the_time_limit_stops_between_chunks(root: Path) -> None:
    with pytest.raises(TryLaterError):
        list(stage.run([case(root)], CONFIG, Context(root, deadline=0.0), open_arms=lambda _: FakeArms(faithful)))


def test_equal_input_gives_equal_bytes(root: Path) -> None:
    records = [case(root, str(k)) for k in range(5)]
    runs = [stage.run(records, CONFIG, Context(root), open_arms=lambda _: FakeArms(faithful)) for _ in "ab"]
    first, second = ([msgspec.json.encode(record) for record in out] for out in runs)
    assert first == second


def test_the_page_shows_images_and_hides_words(root: Path, tmp_path: Path) -> None:
    records = [case(root, "a"), case(root, "b", task="vqa-open", reference="The left."), _pair(root, "c")]
    for with_text in (False, True):
        target = tmp_path / f"{with_text}.html"
        run(root, records, config=msgspec.structs.replace(CONFIG, html=str(target), with_text=with_text))
        html = target.read_text()
        assert html.count('<article id="case') == 3
        assert html.count("data:image/png") == 3  # intact, destroyed, control: each once
        assert ("small" in html.split("<main>")[1].replace('class="small"', "")) is with_text
        assert "g-a" not in html


def test_the_page_puts_fixed_and_broken_cases_first(root: Path, tmp_path: Path) -> None:
    def say(arm: str, prompt: str, _level: int) -> str:
        return DENIED if arm == "base" and prompt.startswith("Fixed") else TRUTH

    records = [case(root, f"x{k}", prompt="Same?") for k in range(70)] + [case(root, "f", prompt="Fixed?")]
    target = tmp_path / "page.html"
    run(root, records, say, config=msgspec.structs.replace(CONFIG, html=str(target), batch=16))
    html = target.read_text()
    assert html.count('<article id="case') == 60
    assert "60 of 71 cases are on this page" in html
    assert '<article id="case1" class="case fixed" data-fixed="1"' in html
    assert html.count('data-fixed="1"') == 1


def test_scores_of_the_stage_can_be_compared(root: Path) -> None:
    scores, _ = run(root, [case(root, str(k)) for k in range(4)])
    base, aligned = ([score for score in scores if score.arm == arm] for arm in ("base", "aligned"))
    difference = compare({"A": base}, {"B": aligned}, resamples=100)[-1]
    assert difference.metrics["report.specificity"].value == 1.0


def test_probabilities_give_calibration_and_areas(root: Path) -> None:
    """p(yes) .9 where the effusion is, .2 on its twin, still .9 where it is destroyed; .2 for what is not there."""
    records = [
        case(root, "there", task="vqa-closed", prompt="Is there a pleural effusion?", reference="Yes."),
        case(root, "not", task="vqa-closed", prompt="Is there a pleural effusion? Look again.", reference="No.",
             regions=None, corrupted=None, control=None, ext=None),
    ]  # fmt: skip
    says = lambda _arm, prompt, level: "No." if level == TWIN or "again" in prompt else "Yes."  # noqa: E731
    scores, summaries = run(root, records, says)
    there = scores[0].metrics
    assert (there["closed.p_yes"], there["closed.mass"]) == (0.9, 1.0)
    assert there["closed.brier"] == pytest.approx(0.01)
    odds = {"finding": "pleural_effusion", "truth": "yes", "intact": 2.197, "lesion": 2.197, "twin": -1.386}
    assert (scores[0].ext or {})["odds"] == odds
    found = summaries[0].metrics
    assert found["closed.ece"].value == pytest.approx((0.1 + 0.2) / 2)
    assert found["closed.brier"].value == pytest.approx((0.01 + 0.04) / 2)
    areas = [found[f"closed.{name}"].value for name in ("aurc", "auc_present", "auc_lesion", "auc_twin")]
    assert areas == [0, 1, 0.5, 1]
    assert (summaries[0].curves or {})["closed.reliability"]["n"] == [1, 1]
    assert summaries[2].metrics["closed.ece"].value == 0


def test_what_is_edited_loses_more_by_the_lesion(root: Path) -> None:
    base, aligned = run(root, [_pair(root)])[0]
    for score, lost in ((base, 0.0), (aligned, 1.5)):
        assert score.metrics["pair.drop_lesion"] == score.metrics["pair.drop_excess"] == lost
        assert score.metrics["pair.drops_specific"] == float(lost > 0)
        assert score.metrics["pair.drop_control"] == 0


def _probe(root: Path, item: str, image: str, pair: str, *, yes: bool) -> Case:
    """A probe of what is there (the answer is yes), or its adversary; the prompt says what the arm will answer."""
    said, truth = item[-1], "Yes." if yes else "No."
    return case(
        root, item, task="vqa-closed", prompt=f"Is there a finding {said}?", reference=truth, group=image,
        regions=None, corrupted=None, control=None, ext={"probe": {"pair": pair, "adversarial": not yes}},
    )  # fmt: skip


def test_paired_probes_count_only_when_all_is_right(root: Path) -> None:
    """Ids end with what is said. Pairs of image a: right, right; b: right, adversary wrong; c: true half wrong."""
    table = [
        ("a", "1", "y", "n"), ("a", "2", "y", "n"), ("b", "1", "y", "n"), ("b", "2", "y", "y"), ("c", "1", "n", "n"),
    ]  # fmt: skip
    records = [
        _probe(root, f"{image}{pair}{half}{said}", image, pair, yes=half == "t")
        for image, pair, *both in table
        for half, said in zip("tf", both, strict=True)
    ]
    alone = _probe(root, "d1ty", "d", "1", yes=True)  # its adversary is missing: no pair
    _, summaries = run(root, [*records, alone], lambda _arm, prompt, _level: "Yes." if "y?" in prompt else "No.")
    found = summaries[0].metrics
    names = ("pair_accuracy", "image_accuracy", "true_half", "adversarial_half")
    assert [found[f"closed.{name}"].value for name in names] == pytest.approx([3 / 5, 2 / 4, 5 / 6, 4 / 5])
    assert (found["closed.pair_accuracy"].n, found["closed.image_accuracy"].n) == (5, 4)


def test_published_vector_of_object_probes(root: Path) -> None:
    """Vector 14: said y y n y y n n n, truth y y y n n n n n."""
    records = [
        case(root, f"{k}", task="vqa-closed", prompt=f"Item {k} {said}?", reference="Yes." if truth == "y" else "No.")
        for k, (said, truth) in enumerate(zip("yynyynnn", "yyynnnnn", strict=True))
    ]
    _, summaries = run(root, records, lambda _arm, prompt, _level: "Yes." if prompt.endswith("y?") else "No.")
    names = ("accuracy", "precision", "recall", "f1", "yes_rate")
    values = [round(summaries[0].metrics[f"closed.{name}"].value, 4) for name in names]
    assert values == [0.625, 0.5, 0.6667, 0.5714, 0.5]


@pytest.mark.parametrize("probe", ["pair", {"pair": 3, "adversarial": True}, {"pair": "1"}])
def test_malformed_probes_are_rejected(root: Path, probe: object) -> None:
    with pytest.raises(RecordError) as caught:
        run(root, [case(root, task="vqa-closed", ext={"probe": probe})])
    assert caught.value.reason == "probe-malformed"


def test_without_the_picture(root: Path) -> None:
    """The arm says yes where the effusion is seen: wrong on black, right by luck with the other case's picture."""
    twin = {"image": _ref(root, "twin"), "reference": "No.", "corrupted": None, "control": None, "ext": None}
    closed = {"task": "vqa-closed", "prompt": "Is there a pleural effusion?", "reference": "Yes.", "ext": None}
    records = [
        case(root, "a", **closed),
        case(root, "b", **(closed | twin)),
        case(root, "c", **(closed | twin), group="g-b"),
    ]
    config = msgspec.structs.replace(CONFIG, blind=True)
    arms = FakeArms(lambda _arm, _prompt, level: "Yes." if level == INTACT else "No.", ("base",))
    scores, [summary] = run(root, records, arms=arms, config=config)
    assert "closed.swapped_items" not in scores[0].metrics  # no earlier case
    assert {scores[k].metrics["closed.swapped_changed"] for k in (1, 2)} == {1.0}
    found = {name: summary.metrics[f"closed.{name}"].value for name in ("accuracy", "blank_accuracy", "blank_change")}
    assert found == pytest.approx({"accuracy": 1, "blank_accuracy": 2 / 3, "blank_change": 1 / 3})
    assert summary.metrics["closed.swapped_accuracy"].value == 0
    assert (summary.metrics["closed.swapped_accuracy"].n, summary.metrics["closed.blank_accuracy"].n) == (2, 3)


def test_measures_by_organ_and_kind(root: Path) -> None:
    closed = {"task": "vqa-closed", "reference": "Yes.", "prompt": "Is it?"}
    about = [("Lung", "Presence"), ("Lung", "Presence"), ("Brain", "Presence"), ("<b>", "Presence")]
    records = [
        case(root, f"{k}", **closed, ext={"organ": organ, "kind": kind}) for k, (organ, kind) in enumerate(about)
    ]
    said = iter(["Yes.", "No.", "Yes.", "No."] * 9)
    config = msgspec.structs.replace(CONFIG, grounding=False)
    scores, [summary] = run(root, records, arms=FakeArms(lambda *_: next(said), ("base",)), config=config)
    assert (scores[3].ext or {})["about"] == {"kind": "presence"}  # what is no short name is not told
    by = {name: (one.value, one.n) for name, one in summary.metrics.items() if "accuracy[" in name}
    assert set(by) == {"closed.accuracy[organ=brain]", "closed.accuracy[organ=lung]"}
    assert by["closed.accuracy[organ=lung]"][1] == 2
    assert by["closed.accuracy[organ=brain]"][1] == 1
    right = {score.id: score.metrics["closed.right"] for score in scores}
    assert by["closed.accuracy[organ=lung]"][0] == (right["0"] + right["1"]) / 2


def test_both_arms_are_judged_on_the_same_answers(root: Path) -> None:
    """The base leaves the effusion out, the aligned arm says what the reference says."""

    def say(arm: str, _prompt: str, _level: int) -> str:
        return TRUTH if arm == "aligned" else DENIED

    stub = JudgeStub(perfect)
    config = msgspec.structs.replace(CONFIG, judge="http", endpoint=stub.url, endpoint_model="m", grounding=False)
    scores, (base, aligned, change) = run(root, [case(root, str(k)) for k in range(3)], say, config=config)
    stub.server.shutdown()
    stub.server.server_close()
    assert [score.metrics["report.judge_right"] for score in scores] == [0, 1] * 3
    assert (base.judge, aligned.judge) == (aligned.judge, base.judge) != (None, None)
    found = change.metrics["report.judge_right"]
    assert (found.value, found.n, found.fixed, found.broken) == (1.0, 3, 3, 0)
    assert len(stub.bodies) == 6
