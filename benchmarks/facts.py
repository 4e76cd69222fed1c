"""Speed of fact extraction on reports like those of chest radiographs (mean 38 words), one core, nothing cached.

Run: ``python benchmarks/facts.py [reports]``; prints one JSON object.
"""

import json
import random
import sys
import time

from medpo_cli.text.clauses import sentence_facts
from medpo_cli.text.facts import extract
from medpo_cli.text.lexicon import load_lexicon
from medpo_cli.text.words import sentences, word_count

SIDES, ZONES, SIZES = ("left", "right"), ("upper", "middle", "lower"), ("small", "moderate", "large")
SENTENCES = (
    "The heart is normal in size and contour.",
    "Heart size and mediastinal contours are within normal limits.",
    "The lungs are clear without focal consolidation, effusion or pneumothorax.",
    "No evidence of pneumothorax, pleural effusion or focal airspace disease.",
    "There is a {size} {side} pleural effusion with adjacent atelectasis.",
    "A {number} mm calcified granuloma is seen in the {side} {zone} lobe.",
    "Patchy opacity in the {side} {zone} lobe, which may represent atelectasis or pneumonia.",
    "{side} internal jugular catheter terminates in the mid SVC.",
    "There has been interval resolution of the {side} pneumothorax.",
    "Degenerative changes of the thoracic spine are unchanged, no acute bony abnormality.",
    "Mild cardiomegaly with pulmonary vascular congestion, stable since {number} months.",
    "Comparison with the study of {number} days ago, two views of the chest were obtained.",
)
TARGET = 2000


def reports(count: int) -> list[str]:
    """Four sentences each, drawn and filled in at random."""
    generator = random.Random(0)
    made = []
    for _ in range(count):
        chosen = generator.sample(SENTENCES, 4)
        filled = (
            one.format(
                side=generator.choice(SIDES), zone=generator.choice(ZONES), size=generator.choice(SIZES),
                number=generator.randint(2, 30),
            )
            for one in chosen
        )  # fmt: skip
        made.append(" ".join(filled))
    return made


def main() -> None:
    """Measure and print."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 5000
    start = time.process_time()
    lexicon = load_lexicon()
    loading = time.process_time() - start
    texts = reports(count)
    start = time.process_time()
    facts = 0
    for text in texts:
        for begin, end in sentences(text):
            facts += len(sentence_facts(text[begin:end], lexicon))
    first = count / (time.process_time() - start)
    start = time.process_time()
    for text in texts:
        extract(text, lexicon)
    again = count / (time.process_time() - start)
    result = {
        "reports": count,
        "words_per_report": round(sum(map(word_count, texts)) / count, 1),
        "facts_per_report": round(facts / count, 1),
        "lexicon_s": round(loading, 2),
        "reports_per_s_first_time": round(first),
        "ratio_to_target": round(first / TARGET, 2),
        "reports_per_s_with_cache": round(again),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
