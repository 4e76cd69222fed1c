"""How good a phantom model is: by the closed language's own sentences, no extractor needed."""

from itertools import product
from typing import Any

import torch

from medpo_cli.demo import language
from medpo_cli.demo.build.pictures import Pictures, pixel_values
from medpo_cli.demo.build.tuning import Encoder
from medpo_cli.demo.findings import FINDINGS, SIDES, SIZES, WITH_SIDE, WITH_SIZE, WITH_ZONE, ZONES, Lesion, Lesions


def all_lesions(finding: str) -> list[Lesion]:
    """Every lesion of a kind that the language can say."""
    options: list[tuple[str | None, ...]] = [
        SIDES if finding in WITH_SIDE else (None,),
        ZONES if finding in WITH_ZONE else (None,),
        SIZES if finding in WITH_SIZE else (None,),
    ]
    return [Lesion(finding, *values) for values in product(*options)]


SENTENCES: dict[str, tuple[str, Lesion | None]] = {
    language.sentence(finding, lesion): (finding, lesion)
    for finding in FINDINGS
    for lesion in (None, *all_lesions(finding))
}


def read_report(text: str) -> dict[str, Lesion | None]:
    """What a report says per finding; sentences outside the language are left out."""
    parts = [part if part.endswith(".") else part + "." for part in text.split(". ")]
    return dict(SENTENCES[part] for part in parts if part in SENTENCES)


@torch.no_grad()
def answer(model: Any, encoder: Encoder, prompt: str, grey: torch.Tensor, batch: int = 64) -> list[str]:
    """Greedy answers to one prompt about every picture [N, 96, 96]."""
    ids = torch.tensor([encoder.prompt(prompt)])
    texts: list[str] = []
    for part in torch.split(grey, batch):
        rows = ids.expand(len(part), -1)
        out = model.generate(
            input_ids=rows,
            attention_mask=torch.ones_like(rows),
            pixel_values=pixel_values(part),
            max_new_tokens=96,
            do_sample=False,
        )
        texts += encoder.tokenizer.batch_decode(out[:, rows.shape[1] :], skip_special_tokens=True)
    return texts


def share(hits: list[bool]) -> float:
    """The part of ``hits`` that is true."""
    return round(sum(hits) / max(len(hits), 1), 4)


def score_reports(texts: list[str], truths: list[Lesions]) -> dict[str, float]:
    """Rates over images and findings.

    ``accuracy`` counts statements right in every attribute; ``hallucination`` is over absent findings,
    ``omission`` over present ones, ``side_error`` over those present and named; ``shortcut`` is how
    often an effusion is said of a big heart without one.
    """
    said = [read_report(text) for text in texts]
    pairs = [
        (f, row.get(f, "missing"), truth.get(f)) for row, truth in zip(said, truths, strict=True) for f in FINDINGS
    ]
    eff = [
        ("cardiomegaly" in truth, row.get("pleural_effusion") is not None)
        for row, truth in zip(said, truths, strict=True)
        if "pleural_effusion" not in truth
    ]
    both = [(a, b) for _, a, b in pairs if isinstance(a, Lesion) and b and b.side]
    result = {
        "accuracy": share([a == b for _, a, b in pairs]),
        "reports_right": share([language.report(truth) == text for text, truth in zip(texts, truths, strict=True)]),
        "hallucination": share([isinstance(a, Lesion) for _, a, b in pairs if b is None]),
        "omission": share([not isinstance(a, Lesion) for _, a, b in pairs if b is not None]),
        "side_error": share([a.side != b.side for a, b in both]),
        "shortcut_big_heart": share([hit for heart, hit in eff if heart]),
        "shortcut_normal_heart": share([hit for heart, hit in eff if not heart]),
        "small_nodule_omission": share(
            [
                row.get("nodule") is None
                for row, truth in zip(said, truths, strict=True)
                if "nodule" in truth and truth["nodule"].size == "small"
            ]
        ),
        "words": round(sum(len(text.split()) for text in texts) / len(texts), 2),
        "terse": share([len(row) < len(FINDINGS) for row in said]),
    }
    for finding in FINDINGS:
        result[f"accuracy_{finding}"] = share([a == b for f, a, b in pairs if f == finding])
    return result


def score_questions(model: Any, encoder: Encoder, data: Pictures) -> dict[str, float]:
    """Accuracy of yes/no, of the whole closed answer, and of open answers (sides, heart size)."""
    verdict, whole, opened = [], [], []
    for finding in FINDINGS:
        texts = answer(model, encoder, language.CLOSED[finding], data.grey)
        right = [language.closed_answer(finding, truth.get(finding)) for truth in data.lesions]
        verdict += [a.split(",")[0] == b.split(",")[0] for a, b in zip(texts, right, strict=True)]
        whole += [a == b for a, b in zip(texts, right, strict=True)]
        rows = [i for i, truth in enumerate(data.lesions) if finding == "cardiomegaly" or finding in truth]
        texts = answer(model, encoder, language.open_question(finding), data.grey[rows])
        opened += [
            t == language.open_answer(finding, data.lesions[i].get(finding)) for t, i in zip(texts, rows, strict=True)
        ]
    return {"closed_yes_no": share(verdict), "closed_whole": share(whole), "open": share(opened)}
