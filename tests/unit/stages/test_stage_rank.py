"""``edit --emit ranking``: answers, rewards, old log-probabilities, and what is refused."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from conftest_cli import MEDPO
from test_stage_edit import BAD, NORMAL, TRUTH, sample

from medpo_cli.errors import RecordError
from medpo_cli.io.context import Context
from medpo_cli.io.stream import encode
from medpo_cli.schema.config import EditConfig
from medpo_cli.schema.objectives import PolicyGradient
from medpo_cli.schema.records import End, ImageRef, MaskRef, Ranking, Region, Response, Sample
from medpo_cli.stages.edit import run
from medpo_cli.training.needs import check_fields

WRONG = TRUTH.replace("left pleural", "right pleural")


def rank(*samples: Sample, **settings: Any) -> tuple[list[Ranking], list[tuple[str | None, RecordError]]]:
    rejects: list[tuple[str | None, RecordError]] = []
    context = Context(reject=lambda name, error: rejects.append((name, error)))
    return list(run(samples, EditConfig(emit="ranking", **settings), context)), rejects  # type: ignore[arg-type]


def drawn(*responses: Response, **more: object) -> Sample:
    return msgspec.structs.replace(sample("x"), responses=list(responses), **more)


def test_answers_are_rewarded_in_the_order_they_were_drawn() -> None:
    (made,), rejects = rank(sample(NORMAL, TRUTH, WRONG, NORMAL))
    assert rejects == []
    assert [answer.text for answer in made.responses] == [NORMAL, TRUTH, WRONG]
    assert [answer.reward for answer in made.responses] == pytest.approx([0.4, 1.0, 0.8])
    assert (made.id, made.ext) == ("s", None)


def test_ties_are_kept() -> None:
    other = TRUTH.replace("small nodule", "large nodule")
    (made,), _ = rank(sample(WRONG, other, TRUTH))
    assert [answer.reward for answer in made.responses] == pytest.approx([0.8, 0.8, 1.0])


def test_closed_questions_are_right_or_wrong() -> None:
    closed = {"task": "vqa-closed", "prompt": "Is there a nodule?", "reference": "No."}
    (made,), _ = rank(sample("No.", "Yes, there is a nodule.", "No, there is no nodule.", **closed))
    assert [answer.reward for answer in made.responses] == [1.0, 0.0, 1.0]


def test_edit_distance_and_exact() -> None:
    text = {"prompt": "Read the text.", "task": "vqa-open", "reference": "心脏增大 abc"}
    (made,), _ = rank(sample("心脏增大 abc", "心脏 abc", **text), reward="edit-distance")
    assert [answer.reward for answer in made.responses] == pytest.approx([1.0, 1 - 2 / 8])
    (made,), _ = rank(sample("心脏增大 ABC.", "心脏 abc", **text), reward="exact")
    assert [answer.reward for answer in made.responses] == [1.0, 0.0]


def test_everything_of_the_case_is_carried_and_texts_are_in_normal_form_c() -> None:
    region = Region(label="nodule", mask=MaskRef(path="m.nii.gz"))
    image = [ImageRef(path="a.png"), ImageRef(path="b.png")]
    source = sample(f"Cafe\u0301: {TRUTH}", NORMAL, group="patient-7", regions=[region], ext={"mine": 3})
    source = msgspec.structs.replace(source, image=image, reference=f"Re\u0301sume\u0301: {TRUTH}")
    (made,), _ = rank(source)
    for name in ("image", "prompt", "task", "group", "regions", "ext", "policy"):
        assert getattr(made, name) == getattr(source, name)
    assert made.responses[0].text.startswith("Caf\u00e9")
    assert str(made.reference).startswith("R\u00e9sum\u00e9")
    assert msgspec.json.decode(msgspec.json.encode(made), type=Ranking) == made


def test_old_logprobs_where_every_answer_ended_and_is_known() -> None:
    first, second = Response(text=WRONG, logprob=-3.5, tokens=9), Response(text=TRUTH, logprob=-7.25, tokens=9)
    (made,), _ = rank(drawn(first, second, ext={"mine": 1, "align": {"degree": {"chosen": 0, "rejected": 1}}}))
    assert made.ext == {"mine": 1, "align": {"degree": {"chosen": 0, "rejected": 1}, "old_logprobs": [-3.5, -7.25]}}
    check_fields(made, [PolicyGradient()], "p3o")
    again = Response(text=WRONG, logprob=-4.0, tokens=9)  # an equal text: the first counts
    (made,), _ = rank(drawn(first, again, second))
    assert made.ext == {"align": {"old_logprobs": [-3.5, -7.25]}}
    for change in ({"finish": "length"}, {"logprob": None}):
        (made,), _ = rank(drawn(first, msgspec.structs.replace(second, **change)))
        assert made.ext is None


def test_one_bad_answer_is_left_out_and_named() -> None:
    (made,), rejects = rank(sample(WRONG, "  ", "心脏增大。", TRUTH))
    assert [answer.text for answer in made.responses] == [WRONG, TRUTH]
    assert [(error.reason, error.path) for _, error in rejects] == [
        ("no-answer", "$.responses[1].text"),
        ("language", "$.responses[2].text"),
    ]


@pytest.mark.parametrize("reason", sorted(set(BAD) - {"no-edit"}))
def test_what_edit_refuses_is_refused(reason: str) -> None:
    made, rejects = rank(sample(BAD[reason][0], TRUTH), sample(TRUTH, WRONG, id="good"))
    assert [error.reason for _, error in rejects] == [reason, "one-answer"]
    assert [one.id for one in made] == ["good"]


SECRET = {"prompt": "What is it?", "task": "vqa-open", "reference": "SECRET liver"}


@pytest.mark.parametrize(
    ("bad", "reason", "path"),
    [
        (sample(TRUTH, WRONG, reference=None), "no-reference", "$.reference"),
        (sample(TRUTH, WRONG, reference=" "), "no-reference", "$.reference"),
        (sample(TRUTH, WRONG, reference=f"{TRUTH} No nodule."), "reference-contradiction", "$.reference"),
        (sample(TRUTH), "one-answer", "$.responses"),
        (sample(TRUTH, TRUTH), "one-answer", "$.responses"),
        (sample("SECRET one", "SECRET two", **SECRET), "no-signal", "$.responses"),
        (
            drawn(Response(text=TRUTH, logprob=-1.0), Response(text=WRONG, logprob=-2.0), ext={"align": []}),
            "extras-malformed",
            "$.ext.align",
        ),
    ],
)
def test_samples_that_rank_nothing(bad: Sample, reason: str, path: str) -> None:
    made, rejects = rank(msgspec.structs.replace(bad, id="bad"), sample(TRUTH, WRONG, id="good"))
    assert [(name, error.reason, error.path) for name, error in rejects] == [("bad", reason, path)]
    assert [one.id for one in made] == ["good"]
    assert "SECRET" not in rejects[0][1].message


def test_a_contradictory_reference_has_letters_all_the_same() -> None:
    made, _ = rank(sample(TRUTH, WRONG, reference=f"{TRUTH} No nodule."), reward="edit-distance")
    assert len(made) == 1


def test_a_resumed_run_gives_the_same_bytes(tmp_path: Path) -> None:
    import subprocess

    samples = [sample(TRUTH, WRONG, NORMAL, id=f"s{number}") for number in range(5)]
    end = End(stage="sample", run="r", records=5, rejected=0)
    (tmp_path / "samples.jsonl").write_bytes(b"".join(encode(one) + b"\n" for one in (*samples, end)))
    command = [MEDPO, "edit", "--emit", "ranking", "samples.jsonl", "-o", "rankings.jsonl"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    whole = (tmp_path / "rankings.jsonl").read_bytes()
    assert [json.loads(line)["schema"] for line in whole.splitlines()] == ["medpo.ranking/1"] * 5 + ["medpo.end/1"]
    part = b"".join(whole.splitlines(keepends=True)[:2])
    (tmp_path / "rankings.jsonl").unlink()
    (tmp_path / "rankings.jsonl.part").write_bytes(part + b'{"schema":"medpo.ra')
    done = subprocess.run([*command, "--resume"], cwd=tmp_path, check=True, capture_output=True, text=True)
    assert "resuming behind 2 finished records" in done.stderr
    assert (tmp_path / "rankings.jsonl").read_bytes() == whole
    refused = subprocess.run(
        [*command, "--resume", "--reward", "exact"], cwd=tmp_path, check=False, capture_output=True, text=True
    )
    assert refused.returncode == 78
