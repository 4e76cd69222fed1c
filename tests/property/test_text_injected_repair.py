"""Reports with injected errors are repaired to the truth; no accepted pair prefers the worse side."""

from collections import Counter

import pytest
from data.injector import KINDS, Wrong, inject
from data.true_reports import DOMAINS

from medpo_cli.io.context import Context
from medpo_cli.schema.config import EditConfig
from medpo_cli.schema.records import ImageRef, Pair, Policy, Response, Sample
from medpo_cli.stages.edit import run

REPORTS = 150


def pairs(wrong: Wrong) -> list[Pair]:
    sample = Sample(
        id="p", image=ImageRef(path="x.png"), prompt="Describe the image.", reference=wrong.truth, task="report",
        policy=Policy(model="m", digest="0" * 64), responses=[Response(text=wrong.said)],
    )  # fmt: skip
    return list(run([sample], EditConfig(), Context(reject=lambda _id, _error: None)))


def sentences(text: str) -> Counter[str]:
    return Counter(part.strip() for part in text.rstrip(".").split(". "))


def repaired(wrong: Wrong, made: list[Pair]) -> bool:
    """The chosen side is the truth: the same sentences; their order may differ where one had been left out."""
    if not made or made[0].origin != "corrected":
        return False
    chosen = made[0].chosen
    return chosen == wrong.truth or ("omitted" in wrong.kinds and sentences(chosen) == sentences(wrong.truth))


def known_wrong(text: str, wrong: Wrong) -> int:
    """Sentences of the injected errors that the text still holds."""
    return (sentences(text) & (sentences(wrong.said) - sentences(wrong.truth))).total()


@pytest.mark.parametrize("domain", sorted(DOMAINS))
def test_injected_errors_are_repaired(domain: str) -> None:
    right: Counter[str] = Counter()
    seen: Counter[str] = Counter()
    for seed in range(REPORTS):
        wrong = inject(domain, seed)
        made = pairs(wrong)
        ok = repaired(wrong, made)
        for kind in {*wrong.kinds, "all"}:
            seen[kind] += 1
            right[kind] += ok
        for pair in made:
            assert known_wrong(pair.chosen, wrong) <= known_wrong(pair.rejected, wrong), seed
    shares = {kind: f"{right[kind]}/{seen[kind]}" for kind in ("all", *KINDS) if seen[kind]}
    print(f"\n{domain}: {shares}")
    assert right["all"] >= 0.9 * seen["all"], shares
