"""A search over mixes of terms, on validation cases only.

Every mix is a list of terms (``medpo_cli/schema/objectives.py``), a kind of v' and a learning rate. The first round
draws from ``SPACE`` by hashing, so its list was fixed before the first trial, and so was its rule: most findings right
among mixes as specific as mDPO. It found nothing that the demo's recipe does not equal in findings right and beat in
specificity by ten points; so the second round looks around that recipe, and mixes that are as right but for
``TOLERANCE`` are told apart by specificity. That rule was chosen after the first round, on validation cases.
"""

import statistics
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from medpo_cli.demo.streams import Stream
from medpo_cli.schema.records import Trial
from study.runs import Arm

SPACE: dict[str, tuple[Any, ...]] = {
    "nll": (0.0, 1.0, 4.0, 8.0),
    "rank": ("span", "response"),
    "rank_weight": (0.25, 1.0),
    "beta": (0.1, 0.5, 1.0),
    "visual": ("none", "reversed", "reversed", "contrast", "v1"),
    "visual_weight": (0.1, 0.25, 0.5, 1.0),
    "anchor": (0.0, 0.0, 0.5),
    "kl": (0.0, 0.01, 0.1),
    "kl_scope": ("span", "response"),
    "kl_forward": (0.0, 0.5, 1.0),
    "pairs": ("pairs.v.jsonl", "pairs.mirror.jsonl", "pairs.median.jsonl", "pairs.noise.jsonl", "pairs.twin.jsonl"),
    "lr": (3e-4, 1e-3),
}
"""What a mix may be; a level that is named twice is drawn twice as often."""
VISUAL = {"reversed": ("'-", "'+", "span"), "contrast": ("+", "'+", "response"), "v1": ("+", "'+", "span")}
"""FiRe-MPO's reversed ranking, mDPO's term, and the ablation v1 of FiRe-MPO: better, worse, tokens."""
ACCURACY, SPECIFICITY = "report.finding_accuracy", "report.specificity"
TOLERANCE = 0.005
"""Of findings right: less than what another training seed changes."""
Mix = dict[str, Any]
DEMO: Mix = {
    "nll": 4.0,
    "rank": "span",
    "rank_weight": 1.0,
    "beta": 0.5,
    "visual": "reversed",
    "visual_weight": 0.5,
    "anchor": 0.0,
    "kl": 0.01,
    "kl_scope": "span",
    "kl_forward": 0.5,
    "pairs": "pairs.v.jsonl",
    "lr": 1e-3,
}
"""The recipe of ``medpo demo`` as a mix."""


def drawn(count: int) -> list[Mix]:
    """The first ``count`` different mixes of the space."""
    found: list[Mix] = []
    number = 0
    while len(found) < count:
        draw = Stream("medpo-search", number)
        mix = plain({name: draw.choice(levels) for name, levels in SPACE.items()})
        number += 1
        if mix not in found:
            found.append(mix)
    return found


def neighbours(mix: Mix) -> list[Mix]:
    """All mixes that differ from ``mix`` in one respect, in the order of the space."""
    found: list[Mix] = []
    for name, levels in SPACE.items():
        for level in dict.fromkeys(levels):
            other = plain({**mix, name: level})
            if other not in found and other != mix:
                found.append(other)
    return found


def plain(mix: Mix) -> Mix:
    """The mix with settings of absent terms at their first level, so that equal mixes look equal."""
    first = {name: levels[0] for name, levels in SPACE.items()}
    if not mix["kl"]:
        mix = mix | {name: first[name] for name in ("kl_scope", "kl_forward")}
    if mix["visual"] == "none":
        mix = mix | {name: first[name] for name in ("visual_weight", "pairs")}
    return mix


def arm(mix: Mix) -> Arm:
    """What ``align`` is given for a mix."""
    return Arm(title(mix), mix["pairs"], {"lr": mix["lr"], "terms": terms(mix)})


def terms(mix: Mix) -> list[dict[str, Any]]:
    """The objective as it stands in a configuration file."""
    rank = {"kind": "rank", "scope": mix["rank"], "beta": mix["beta"], "weight": mix["rank_weight"]}
    found = [rank]
    if mix["visual"] != "none":
        better, worse, scope = VISUAL[mix["visual"]]
        seen = {"better": better, "worse": worse, "scope": scope, "beta": mix["beta"], "weight": mix["visual_weight"]}
        found.append({"kind": "rank", "name": "visual", "optional": True, **seen})
    if mix["anchor"]:
        found.append({"kind": "anchor", "beta": mix["beta"], "weight": mix["anchor"]})
    if mix["kl"]:
        found.append({"kind": "kl", "scope": mix["kl_scope"], "forward": mix["kl_forward"], "weight": mix["kl"]})
    if mix["nll"]:
        found.append({"kind": "nll", "weight": mix["nll"]})
    return found


def title(mix: Mix) -> str:
    """The mix in one line."""
    parts = [f"rank {mix['rank_weight']:g} {mix['rank']} beta {mix['beta']:g}"]
    if mix["visual"] != "none":
        parts.append(f"{mix['visual']} {mix['visual_weight']:g} {mix['pairs'].split('.')[1]}")
    parts += [f"anchor {mix['anchor']:g}"] if mix["anchor"] else []
    parts += [f"kl {mix['kl']:g} {mix['kl_scope']} forward {mix['kl_forward']:g}"] if mix["kl"] else []
    parts += [f"nll {mix['nll']:g}"] if mix["nll"] else []
    return "; ".join([*parts, f"lr {mix['lr']:g}"])


def ranked(trials: Sequence[Trial], floor: float, *, tolerance: float = 0.0) -> list[Trial]:
    """Best first: what ``align`` should use.

    Mixes at least as specific as ``floor`` stand first, by findings right; those within ``tolerance`` of the most
    accurate of them before the others, by specificity. Mixes below the floor follow, by specificity. Mixes that learn
    from lesion-free renderings are left out: no real data set has such images.
    """
    real = [trial for trial in trials if (trial.settings or {}).get("pairs") != "pairs.twin.jsonl"]
    top = max((one.metrics[ACCURACY] for one in real if one.metrics[SPECIFICITY] >= floor), default=0.0)

    def merit(trial: Trial) -> tuple[int, float]:
        accuracy, specificity = trial.metrics[ACCURACY], trial.metrics[SPECIFICITY]
        if specificity < floor:
            return 0, specificity
        return (1, accuracy) if accuracy < top - tolerance else (2, specificity)

    return sorted(real, key=merit, reverse=True)


def floor_of(trials: Sequence[Trial]) -> float:
    """Specificity of mDPO, mean over its seeds: what a mix has to reach."""
    return next(one for one in averaged(trials) if one.run == "mdpo, crops").metrics[SPECIFICITY]


def averaged(trials: Iterable[Trial]) -> list[Trial]:
    """One trial per run: means over its seeds, whose number becomes the seed."""
    runs: dict[str, list[Trial]] = {}
    for trial in trials:
        runs.setdefault(trial.run, []).append(trial)
    return [
        msgspec.structs.replace(
            own[0],
            seed=len(own),
            metrics={name: statistics.fmean(one.metrics[name] for one in own) for name in own[0].metrics},
            seconds=statistics.fmean(one.seconds or 0.0 for one in own),
        )
        for own in runs.values()
    ]


def chosen(trials: Sequence[Trial]) -> Trial:
    """The best mix among those that were tried with all seeds."""
    means = [one for one in averaged(trials) if "terms" in (one.settings or {}).get("align", {})]
    seeds = max(one.seed for one in means)
    return ranked([one for one in means if one.seed == seeds], floor_of(trials), tolerance=TOLERANCE)[0]
