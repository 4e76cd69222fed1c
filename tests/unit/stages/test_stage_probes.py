"""``import probes``: balanced pairs, negatives by the three rules, nothing made up, and eval reads them."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from medpo_cli.errors import RecordError
from medpo_cli.evaluation.gate import check_metric
from medpo_cli.evaluation.items import probe_of
from medpo_cli.io.context import Context, Silent
from medpo_cli.schema.config import EvalConfig
from medpo_cli.schema.records import Case, ImageRef, Region, Score, Summary
from medpo_cli.stages import eval as evaluation
from medpo_cli.stages.probes import Settings, run
from medpo_cli.text.lexicon import load_lexicon

LEXICON = load_lexicon()
PRESENT = {
    "pleural_effusion": "There is a small left pleural effusion.",
    "nodule": "There is a nodule in the right lung.",
    "pneumothorax": "There is a right pneumothorax.",
}
DENIED = {
    "pleural_effusion": "No pleural effusion.",
    "nodule": "No nodule.",
    "pneumothorax": "No pneumothorax.",
    "cardiomegaly": "The heart is normal in size.",
}


def report(name: str, present: Sequence[str], absent: Sequence[str] = (), **changes: Any) -> Case:
    text = " ".join([*(PRESENT[one] for one in present), *(DENIED[one] for one in absent)])
    fields: dict[str, Any] = {
        "id": name, "image": ImageRef(path=f"{name}.png"), "prompt": "Describe.", "reference": text, "task": "report",
        "group": f"patient-{name}",
    }  # fmt: skip
    return Case(**(fields | changes))


def made(records: Sequence[Case], **settings: Any) -> list[Case]:
    return list(run(records, Settings(**settings), LEXICON, Context()))


def pairs(cases: Sequence[Case]) -> dict[str, str]:
    """Finding that is there -> finding that is not, from the prompts."""
    return {
        yes.prompt.removeprefix("Is there ").removesuffix(" in this image?"): no.prompt.removeprefix(
            "Is there "
        ).removesuffix(" in this image?")
        for yes, no in zip(cases[::2], cases[1::2], strict=True)
    }


MANY = [
    report("a", ["pleural_effusion", "nodule"], ["pneumothorax", "cardiomegaly"]),
    report("b", ["nodule"], ["pleural_effusion", "pneumothorax", "cardiomegaly"]),
    report("c", ["pneumothorax", "pleural_effusion"], ["nodule"]),
    report("d", [], ["nodule", "pneumothorax"]),
    report("e", ["nodule", "pneumothorax"]),
]


@pytest.mark.parametrize("style", ["pope", "probmed"])
@pytest.mark.parametrize("negatives", ["random", "popular", "adversarial"])
@pytest.mark.parametrize("closed_world", [False, True])
def test_pairs_are_balanced_and_true_to_the_report(style: str, negatives: str, closed_world: bool) -> None:
    cases = made(MANY, style=style, negatives=negatives, closed_world=closed_world)
    assert Counter(case.reference for case in cases) == {"Yes": len(cases) // 2, "No": len(cases) // 2}
    assert len({case.id for case in cases}) == len(cases)
    by_pair: dict[str, list[Case]] = {}
    for case in cases:
        probe = probe_of(case)
        assert probe is not None
        assert probe["adversarial"] is (case.reference == "No")
        by_pair.setdefault(probe["pair"], []).append(case)
    assert all([case.reference for case in own] == ["Yes", "No"] for own in by_pair.values())
    for case in cases:
        name = case.id.partition("#")[0]
        source = next(one for one in MANY if one.id == name)
        assert (case.image, case.group, case.task) == (source.image, source.group, "vqa-closed")
        if (case.ext or {})["kind"] == "finding" and not closed_world:
            asked = next(key for key in DENIED if key.replace("_", " ") in case.prompt)
            table = DENIED if case.reference == "No" else PRESENT
            assert table[asked] in str(source.reference)
    # Without the flag a report that denies nothing and one that has nothing give no pair about findings.
    sources = {case.id.partition("#")[0] for case in cases if (case.ext or {})["kind"] == "finding"}
    assert sources == ({"a", "b", "c", "e"} if closed_world else {"a", "b", "c"})


def test_popular_and_adversarial_negatives_follow_the_counts() -> None:
    """Present: nodule 3, effusion 3 with nodule 2, pneumothorax 1 with nodule 1 and effusion 0."""
    records = [
        report("1", ["nodule", "pleural_effusion"]),
        report("2", ["nodule", "pleural_effusion"]),
        report("3", ["pleural_effusion"]),
        report("4", ["nodule", "pneumothorax"]),
        report("5", ["pneumothorax"], ["nodule", "pleural_effusion", "cardiomegaly"]),
    ]
    for seed in range(5):
        popular = pairs(made(records, negatives="popular", seed=seed))
        assert popular["a pneumothorax"] in ("a nodule", "a pleural effusion")
        assert pairs(made(records, negatives="adversarial", seed=seed))["a pneumothorax"] == "a nodule"
    drawn = {pairs(made(records, seed=seed))["a pneumothorax"] for seed in range(30)}
    assert drawn == {"a nodule", "a pleural effusion", "cardiomegaly"}


def test_negatives_of_one_image_differ_and_pairs_end_where_they_do() -> None:
    one = made([report("a", ["nodule", "pleural_effusion"], ["pneumothorax"])])
    assert len(one) == 2
    both = pairs(made([report("a", ["nodule", "pleural_effusion"], ["pneumothorax", "cardiomegaly"])]))
    assert len(set(both.values())) == 2


def test_closed_world_takes_what_other_reports_name_as_absent_but_not_what_is_in_doubt() -> None:
    records = [report("a", ["nodule"]), report("b", ["pleural_effusion"])]
    assert made(records) == []
    assert pairs(made(records, closed_world=True)) == {
        "a nodule": "a pleural effusion", "a pleural effusion": "a nodule"
    }  # fmt: skip
    doubtful = report("b", ["pleural_effusion"], reference=f"{PRESENT['pleural_effusion']} Possible nodule.")
    assert pairs(made([records[0], doubtful], closed_world=True)) == {"a nodule": "a pleural effusion"}


def test_the_number_of_pairs_per_image_is_bounded() -> None:
    wide = report("a", ["nodule", "pleural_effusion"], ["pneumothorax", "cardiomegaly"])
    assert [len(made([wide], per_image=n)) for n in (0, 1, 2, 3)] == [4, 2, 4, 4]
    assert {made([wide], per_image=1, seed=seed)[0].prompt for seed in range(20)} == {
        "Is there a nodule in this image?", "Is there a pleural effusion in this image?"
    }  # fmt: skip


def test_probmed_adds_attributes_with_their_kind() -> None:
    kinds = Counter((case.ext or {})["kind"] for case in made(MANY, style="probmed"))
    assert kinds["side"] == 2 * 7
    assert kinds["severity"] == 2 * 2
    assert set(kinds) == {"finding", "side", "severity"}
    assert {(case.ext or {})["kind"] for case in made(MANY)} == {"finding"}


def test_same_input_and_seed_give_the_same_bytes_in_any_order_of_reports() -> None:
    one, two = made(MANY, style="probmed"), made(MANY[::-1], style="probmed")
    assert msgspec.json.encode(one) == msgspec.json.encode(made(MANY, style="probmed"))
    assert sorted(map(msgspec.json.encode, one)) == sorted(map(msgspec.json.encode, two))
    assert made(MANY, seed=1) != made(MANY, seed=2)


def test_the_true_half_keeps_regions_and_twin_of_its_finding() -> None:
    regions = [Region(label="nodule", box=(0, 0, 9, 9)), Region(label="heart", box=(0, 0, 9, 9))]
    ext = {"twins": {"nodule": "t.png", "other": "u.png"}, "organ": "lung", "x": 1}
    yes, no = made([report("a", ["nodule"], ["pneumothorax"], regions=regions, ext=ext)])
    assert yes.regions == regions[:1]
    assert (yes.ext or {})["twins"] == {"nodule": "t.png"}
    assert no.regions is None
    assert "twins" not in (no.ext or {})
    assert (yes.ext or {})["organ"] == (no.ext or {})["organ"] == "lung"
    assert "x" not in (yes.ext or {})


def test_groups_are_given_where_there_are_none_and_one_image_in_two_is_refused() -> None:
    [yes, no] = made([report("a", ["nodule"], ["pneumothorax"], group=None)])
    assert yes.group == no.group
    assert yes.group
    refused: list[tuple[str | None, RecordError]] = []
    context = Context(reject=lambda name, error: refused.append((name, error)))
    other = report("b", ["nodule"], ["pneumothorax"], image=ImageRef(path="a.png"))
    cases = list(run([report("a", ["nodule"], ["pneumothorax"]), other], Settings(), LEXICON, context))
    assert len(cases) == 2
    assert [(name, error.reason) for name, error in refused] == [("b", "several-groups")]


def test_bad_reports_are_rejected_and_the_rest_is_said() -> None:
    refused: list[tuple[str | None, str]] = []
    notes: list[str] = []

    class Told(Silent):
        def note(self, message: str) -> None:
            notes.append(message)

    context = Context(reject=lambda name, error: refused.append((name, error.reason)), progress=Told())
    question = report("q", [], task="vqa-closed", reference="Yes")
    records = [report("a", [], reference=None), report("b", [], reference=" "), question, MANY[3], MANY[4]]
    assert list(run(records, Settings(), LEXICON, context)) == []
    assert refused == [("a", "reference-missing"), ("b", "reference-missing")]
    assert notes == [
        "1 cases are no reports: passed over",
        "1 reports without a probe: the reference names no finding that is there",
        "1 reports without a probe: the reference rules nothing out",
    ]


def test_long_ids_stay_within_bounds() -> None:
    cases = made([report("x" * 200, ["pleural_effusion"], ["pneumothorax"])], style="probmed")
    assert all(len(case.id) <= 200 for case in cases)
    assert len({case.id for case in cases}) == len(cases)
    msgspec.json.decode(msgspec.json.encode(cases), type=list[Case])


class Arms:
    """Says yes to everything, or reads the truth from a table."""

    names = ("base",)

    def __init__(self, truth: dict[str, str] | None) -> None:
        self._truth = truth
        self.versions = self.facts = {"model": "fake@0"}

    def question(self, prompt: str, images: Sequence[Any]) -> Any:
        from medpo_cli.evaluation.arms import Question

        return Question(prompt, images)

    def check(self, answer: str) -> None:
        """Anything may be asked."""

    def answers(self, arm: str, questions: Sequence[Any]) -> list[str]:
        return ["Yes" if self._truth is None else self._truth[question.prompt] for question in questions]

    def logprobs(self, arm: str, items: Sequence[Any]) -> list[Any]:
        return []

    def yes_no(self, arm: str, questions: Sequence[Any]) -> list[Any]:
        from medpo_cli.evaluation.arms import YesNo

        return [YesNo(-0.1, -2.4) for _ in questions]


def test_eval_scores_them_in_pairs(tmp_path: Path) -> None:
    """A model that always says yes gets half of the probes and no pair; the truth gets all."""
    import numpy as np
    from PIL import Image

    records = [MANY[0], MANY[1]]
    for record in records:
        Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / record.images[0].path)
    probes = made(records, style="probmed")
    for arms, half, whole in ((Arms(None), 0.0, 0.0), (Arms({c.prompt: str(c.reference) for c in probes}), 1.0, 1.0)):
        one = [case for case in probes if case.group == "patient-a"]
        out = list(
            evaluation.run(one, EvalConfig(bootstrap=100), Context(tmp_path), open_arms=lambda _, arms=arms: arms)
        )
        metrics = next(record.metrics for record in out if isinstance(record, Summary))
        assert metrics["closed.true_half"].value == 1
        assert metrics["closed.adversarial_half"].value == half
        assert metrics["closed.pair_accuracy"].value == metrics["closed.image_accuracy"].value == whole
        assert metrics["closed.pair_accuracy"].n == len(one) / 2
        kinds = {str((case.ext or {})["kind"]) for case in one}
        by_kind = {kind: metrics[f"closed.pair_accuracy[kind={kind}]"] for kind in kinds}
        assert sum(found.n for found in by_kind.values()) == len(one) / 2
        assert {found.value for found in by_kind.values()} == {whole}
        assert metrics["closed.image_accuracy[kind=side]"].n == 1
        check_metric("closed.pair_accuracy[kind=side]", "here")
        odds = {score.id: (score.ext or {}).get("odds") for score in out if isinstance(score, Score)}
        assert all((told is not None) is ("#finding-" in name) for name, told in odds.items())
