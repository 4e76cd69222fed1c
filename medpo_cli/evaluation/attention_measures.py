"""The measures of ``medpo eval --attention``: overall, layer by layer, and by kind of question.

A score holds ``attention.energy`` (mean over layers) and ``attention.energy@3`` (layer 3, from 0); a summary
``attention.energy`` and ``attention.energy[layer=3]``.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from medpo_cli.evaluation.measures import Better, Measure, Unit, part_of
from medpo_cli.schema.records import Score

VGMED = {"upstream": "VGMED's own code", "firempo": "FiRe-MPO's code"}
"""The two published forms of VGMED's protocol."""


def _of(name: str, numerator: str, items: str, label: str, better: Better = "neither", unit: Unit = "share") -> Measure:
    whole = f"attention.{name}"
    return Measure(whole, {f"attention.{numerator}": 1.0}, f"attention.{items}", label, better, unit, short=label)


def _overall() -> list[Measure]:
    rows = [
        _of("energy", "energy", "items", "attention on the picture that lies in the region", "higher"),
        _of("area", "area", "items", "the same if spread evenly (size of the region)"),
        _of("pointing", "pointed", "items", "highest attention touches the region", "higher"),
        _of("pointing_chance", "pointable", "items", "the same if drawn by lot"),
        _of("on_image", "image", "items", "attention that goes to the picture at all"),
        _of("gradient_energy", "gradient_energy", "gradients", "gradient x input that lies in the region", "higher"),
        _of("gradient_area", "gradient_area", "gradients", "gradient x input, if spread evenly"),
        _of("gradient_pointing", "gradient_pointed", "gradients", "highest gradient x input in the region", "higher"),
        _of("gradient_pointing_chance", "gradient_pointable", "gradients", "highest gradient x input, if drawn by lot"),
    ]
    for name, whose in VGMED.items():
        items = f"{name}_items"
        rows += [
            _of(f"{name}_ar", f"{name}_ar", items, f"attention ratio, {whose} (1: even)", "higher", "ratio"),
            _of(f"{name}_kl", f"{name}_kl", items, f"KL of attention from region, {whose}", "lower", "nats3"),
            _of(f"{name}_js", f"{name}_js", items, f"JS of region and attention, {whose}", "lower", "nats3"),
        ]
    return [
        *rows,
        _of("unsaid", "unsaid", "wanted", "findings with a region that the answer does not state"),
        _of("unavailable", "unavailable", "wanted", "attention not available"),
        _of("gradient_unavailable", "gradient_unavailable", "wanted", "gradient x input not available"),
        _of("vgmed_unavailable", "vgmed_unavailable", "questions", "VGMED not available"),
    ]


ATTENTION: dict[str, Measure] = {measure.name: measure for measure in _overall()}
"""The overall measures by name."""

LAYERED = tuple(
    f"attention.{name}"
    for name in (
        "energy", "pointing", "on_image",
        *(f"{profile}_{what}" for profile in VGMED for what in ("ar", "kl", "js")),
    )
)  # fmt: skip
"""Those that are also given for each layer."""

_PARTED = tuple(f"attention.{profile}_{what}" for profile in VGMED for what in ("ar", "kl", "js"))


def of_layer(measure: Measure, layer: int) -> Measure:
    """The measure of one decoder layer, named ``attention.energy[layer=3]``."""
    return replace(
        measure,
        name=f"{measure.name}[layer={layer}]",
        label=f"{measure.label} (layer {layer})",
        numerator={f"{key}@{layer}": weight for key, weight in measure.numerator.items()},
        denominator=f"{measure.denominator}@{layer}",
    )


def attention_measure(name: str) -> Measure:
    """The measure of a name, ``attention.energy[layer=3]`` and ``attention.upstream_ar[kind=position]`` included.

    Raises:
        KeyError: there is none.
    """
    whole, _, part = name.removesuffix("]").partition("[")
    key, _, value = part.partition("=")
    if key == "layer" and whole in LAYERED and value.isdecimal():
        return of_layer(ATTENTION[whole], int(value))
    return part_of(ATTENTION[whole], key, value) if part and whole in _PARTED else ATTENTION[name]


def measured(scores: Sequence[Score]) -> list[Measure]:
    """What the scores hold: nothing without ``--attention``."""
    if not any("attention.wanted" in score.metrics for score in scores):
        return []
    layers = sorted({int(key.partition("@")[2]) for score in scores for key in score.metrics if "@" in key})
    kinds = sorted({kind for score in scores if (kind := _kind(score))})
    parts = [part_of(ATTENTION[name], "kind", kind) for name in _PARTED for kind in kinds if len(kinds) > 1]
    return [*ATTENTION.values(), *parts, *(of_layer(ATTENTION[name], layer) for name in LAYERED for layer in layers)]


def layers_of(names: Iterable[str], measure: str) -> list[int]:
    """The layers that a measure is given for among the names of a summary, in order."""
    start = f"{measure}[layer="
    return sorted(int(name[len(start) : -1]) for name in names if name.startswith(start))


def _kind(score: Score) -> str:
    about = (score.ext or {}).get("about", {})
    return str(about.get("kind", "")) if "attention.questions" in score.metrics and isinstance(about, dict) else ""
