"""What the rule editor makes of a fixed set of answers, word for word.

After an intended change: ``python tests/golden/test_text_golden.py`` rewrites the file; read the diff.
"""

import json
from collections.abc import Iterator
from pathlib import Path

from medpo_cli.io.context import Context
from medpo_cli.schema.config import EditConfig
from medpo_cli.schema.records import ImageRef, Policy, Response, Sample
from medpo_cli.stages.edit import run

FILE = Path(__file__).parent / "text" / "pairs.jsonl"
REPORT = "Describe the findings on this chest image."
TRUTH = (
    "The heart is enlarged. There is a small nodule in the left upper zone. No focal opacity is seen. "
    "There is a small left pleural effusion. No pneumothorax."
)
ANSWERS = [
    ("report", REPORT, TRUTH, TRUTH),
    ("report", REPORT, TRUTH, TRUTH.replace("left", "right").replace("No pneumothorax.", "Large right pneumothorax.")),
    ("report", REPORT, TRUTH, "Small right upper nodule. Right pneumothorax."),
    ("report", REPORT, TRUTH, "Heart size is normal. No effusion or pneumothorax. 5 mm nodule in the left upper lobe."),
    ("report", REPORT, "Lungs are clear. No pneumothorax. No pleural effusion.",
     "FINDINGS: The lungs are clear. No pneumothorax or pleural effusion."),
    ("report", REPORT, "On the left no nodule is seen. On the right there is a small nodule in the lower part.",
     "On the left there is a large nodule in the upper part. On the right no nodule is seen."),
    ("vqa-closed", "Is there a pleural effusion?", "No, there is no pleural effusion.", "Yes"),
    ("vqa-closed", "Is the heart enlarged?", "Yes, the heart is enlarged.", "No, the heart is normal in size."),
    ("vqa-closed", "Is there a nodule on the left?", "Yes, there is a large nodule on the left.",
     "Yes, there is a large nodule on the left."),
    ("vqa-open", "Which side is the nodule on?", "The nodule is on the left.", "The nodule is on the right."),
    ("vqa-open", "Which plane is this?", "axial", "Axial."),
]  # fmt: skip


def lines() -> Iterator[str]:
    samples = [
        Sample(
            id=f"golden-{number}", image=ImageRef(path="x.png"), prompt=prompt, reference=reference, task=task,
            policy=Policy(model="m", digest="0" * 64), responses=[Response(text=answer)],
        )
        for number, (task, prompt, reference, answer) in enumerate(ANSWERS)
    ]  # fmt: skip
    for pair in run(samples, EditConfig(per_sample=3), Context()):
        spans = [
            [span.kind, span.label, pair.chosen[slice(*span.chosen)], pair.rejected[slice(*span.rejected)], span.source]
            for span in pair.spans
        ]
        yield json.dumps([pair.id, pair.origin, pair.on_policy, pair.chosen, pair.rejected, spans])


def test_pairs_are_those_of_the_file() -> None:
    assert list(lines()) == FILE.read_text(encoding="utf-8").splitlines()


if __name__ == "__main__":
    FILE.write_text("".join(f"{line}\n" for line in lines()), encoding="utf-8")
