"""How good a CT model is, by the closed language's own sentences (maintainers only)."""

from typing import Any

import numpy as np
import torch

from medpo_cli.demo.build.ct_pictures import Pictures
from medpo_cli.demo.build.ct_teaching import Said, truth_of
from medpo_cli.demo.build.ct_tower import pixels
from medpo_cli.demo.build.measure import share
from medpo_cli.demo.build.tuning import Encoder
from medpo_cli.demo.ct import language
from medpo_cli.demo.ct.scenes import PARTS, SIDES, SIZES

SENTENCES: dict[str, tuple[str, tuple[str, str] | None]] = {
    **{language.absent(side): (side, None) for side in SIDES},
    **{language.present(side, size, part): (side, (size, part)) for side in SIDES for size in SIZES for part in PARTS},
}


def read_report(text: str) -> dict[str, tuple[str, str] | None]:
    """What a report says about each side; a side may be missing."""
    parts = [part if part.endswith(".") else part + "." for part in text.split(". ")]
    return dict(SENTENCES[part] for part in parts if part in SENTENCES)


@torch.no_grad()
def answers(model: Any, encoder: Encoder, prompt: str, grey: np.ndarray, batch: int = 64) -> list[str]:
    """Greedy answers to one prompt about every picture [n, 96, 96]."""
    ids = torch.tensor([encoder.prompt(prompt)])
    texts: list[str] = []
    for start in range(0, len(grey), batch):
        part = grey[start : start + batch]
        rows = ids.expand(len(part), -1)
        out = model.generate(
            input_ids=rows,
            attention_mask=torch.ones_like(rows),
            pixel_values=pixels(part),
            max_new_tokens=48,
            do_sample=False,
        )
        texts += encoder.tokenizer.batch_decode(out[:, rows.shape[1] :], skip_special_tokens=True)
    return texts


def score_reports(texts: list[str], truths: list[Said]) -> dict[str, float]:
    """Per statement: all right, presence right; hallucinated where empty, omitted where present; errors of detail."""
    sides: dict[str, list[bool]] = {name: [] for name in ("statement", "presence", "hallucinated", "omitted")}
    sides |= {"size": [], "part": [], "hallucinated_beside_large": [], "omitted_small": []}
    reports = []
    for text, truth in zip(texts, truths, strict=True):
        said = read_report(text)
        reports.append(all(side in said and said[side] == truth.get(side) for side in SIDES))
        for side, other in (SIDES, SIDES[::-1]):
            claim, fact = said.get(side), truth.get(side)
            sides["statement"].append(side in said and claim == fact)
            sides["presence"].append(side in said and (claim is None) == (fact is None))
            if fact is None:
                sides["hallucinated"].append(claim is not None)
                if truth.get(other, ("",))[0] == "large":
                    sides["hallucinated_beside_large"].append(claim is not None)
                continue
            sides["omitted"].append(claim is None)
            if fact[0] == "small":
                sides["omitted_small"].append(claim is None)
            if claim is not None:
                sides["size"].append(claim[0] == fact[0])
                sides["part"].append(claim[1] == fact[1])
    return {"report": share(reports), **{name: share(hits) for name, hits in sides.items()}}


def score_questions(model: Any, encoder: Encoder, data: Pictures) -> dict[str, float]:
    """Presence questions about both sides: first word right, whole answer right."""
    words, whole = [], []
    for side in SIDES:
        texts = answers(model, encoder, language.closed_question(side), data.grey)
        for row, text in enumerate(texts):
            size = truth_of(data, row).get(side, (None,))[0]
            words.append(text.startswith("Yes") == (size is not None))
            whole.append(text == language.closed_answer(side, size))
    return {"presence": share(words), "answer": share(whole)}


def measure(model: Any, encoder: Encoder, data: Pictures) -> dict[str, Any]:
    """All measures on held-out pictures."""
    truths = [truth_of(data, row) for row in range(len(data.grey))]
    texts = answers(model, encoder, language.REPORT_PROMPT, data.grey)
    return {"reports": score_reports(texts, truths), "questions": score_questions(model, encoder, data)}
