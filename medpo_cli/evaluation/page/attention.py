"""Charts of attention by decoder layer for the page, from the summaries of ``medpo eval --attention``."""

from collections import Counter
from collections.abc import Iterable, Sequence

from medpo_cli.evaluation.attention_measures import VGMED, layers_of
from medpo_cli.evaluation.page.model import Line, Lines
from medpo_cli.schema.records import Score, Summary


def attention_curves(summaries: Sequence[Summary]) -> tuple[Lines, ...]:
    """One chart a measure with one line an arm, over the layers from the first to the last."""
    arms = [summary for summary in summaries if summary.against is None]
    charts = [_chart(arms, "attention.energy", f"Attention in the region, %{_even(arms)}", 100.0)]
    for what, title in (("ar", "Attention ratio (1: even)"), ("kl", "KL from region, nats"), ("js", "JS, nats")):
        charts += [_chart(arms, f"attention.{form}_{what}", f"{title}: {whose}") for form, whose in VGMED.items()]
    drawn = (chart.without_empty() for chart in charts)
    return tuple(chart for chart in drawn if chart.lines)


def missing(scores: Iterable[Score]) -> str:
    """Why attention could not be read or laid out in some cases, as one sentence; empty where it always could."""
    found: Counter[str] = Counter()
    for score in scores:
        told = (score.ext or {}).get("attention")
        found.update(map(str, told["missing"]) if isinstance(told, dict) else ())
    listed = ", ".join(f"{reason} ({count})" for reason, count in sorted(found.items()))
    return f"Not available: {listed}." if listed else ""


def _chart(arms: Sequence[Summary], name: str, title: str, scale: float = 1.0) -> Lines:
    lines = []
    for place, arm in enumerate(arms[:2]):
        layers = layers_of(arm.metrics, name)
        points = tuple((float(k), scale * arm.metrics[f"{name}[layer={k}]"].value) for k in layers)
        # A chart of one arm has the colour of the aligned one, like the bars.
        lines.append(Line(str(arm.arm), place if len(arms) > 1 else 1, points, dots=True))
    return Lines(title, "decoder layer", tuple(lines))


def _even(arms: Sequence[Summary]) -> str:
    area = arms[0].metrics.get("attention.area") if arms else None
    return f" ({100 * area.value:.1f} if spread evenly)" if area else ""
