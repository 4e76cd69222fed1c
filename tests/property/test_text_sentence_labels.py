"""Sentence labels against an injector that knows which sentences it made wrong, and nothing of the lexicon."""

import pytest
from data.injector import Wrong, inject
from data.true_reports import DOMAINS

from medpo_cli.io.context import Context
from medpo_cli.schema.config import EditConfig
from medpo_cli.schema.extras import extras
from medpo_cli.schema.records import ImageRef, Pair, Policy, Response, Sample
from medpo_cli.stages.edit import run
from medpo_cli.text.words import sentences

REPORTS = 40


def corrected(wrong: Wrong) -> tuple[list[Pair], list[str]]:
    sample = Sample(
        id="r", image=ImageRef(path="x.png"), prompt="Describe.", task="report", reference=wrong.truth,
        policy=Policy(model="m", digest="0" * 64), responses=[Response(text=wrong.said)],
    )  # fmt: skip
    rejects: list[str] = []
    context = Context(reject=lambda _id, error: rejects.append(error.reason))
    made = run([sample], EditConfig(sentence_labels=True, balance=False), context)
    return [pair for pair in made if isinstance(pair, Pair)], rejects


def parts(text: str) -> set[str]:
    return {text[start:end] for start, end in sentences(text)}


@pytest.mark.parametrize("domain", sorted(DOMAINS))
def test_the_labels_are_those_of_the_injector(domain: str) -> None:
    labelled = 0
    for seed in range(REPORTS):
        wrong = inject(domain, seed)
        true = parts(wrong.truth)
        pairs, rejects = corrected(wrong)
        if "no-sentence" in rejects:  # nothing that was said is wrong
            assert parts(wrong.said) <= true
        for pair in pairs:
            keep = extras(pair).keep
            assert keep is not None
            labelled += 1
            bad = {pair.rejected[slice(*place)] for place in keep.rejected}
            assert bad == parts(pair.rejected) - true
            good = {pair.chosen[slice(*place)] for place in keep.chosen}
            assert good >= parts(pair.chosen) & true
    assert labelled >= 0.75 * REPORTS
