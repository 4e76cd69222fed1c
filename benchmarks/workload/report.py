"""Measured numbers as a Markdown table."""

import statistics
from collections.abc import Sequence
from typing import Any

MIB = 2**20


def table(rows: Sequence[dict[str, Any]], device: str) -> str:
    """One table for each model and kind; ratios are per pair, against the first line that has a number."""
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["model"], row["kind"]), []).append(row)
    return "\n".join(_group(model, kind, lines, device) for (model, kind), lines in groups.items())


def _group(model: str, kind: str, rows: list[dict[str, Any]], device: str) -> str:
    seconds = "s/step" if device == "cuda" else "CPU s/step"
    lines = [
        f"\n### {model}, {kind}\n",
        f"| variant | batch | {seconds} (range) | per pair | ratio | peak above rest, MiB | peak, MiB | start-up, s |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    base = next((each(row) for row in rows if row["steps"]), 0.0)
    for row in rows:
        if not row["steps"]:
            lines.append(f"| {row['title']} | | {row['failed']} | | | | | |")
            continue
        low, high = min(row["steps"]), max(row["steps"])
        above = f"{statistics.median(row['above']) / MIB:.0f}" if row["above"] else ""
        lines.append(
            f"| {row['title']} | {row['batch']} | {median(row):.3f} ({low:.3f}-{high:.3f}) | {each(row):.3f} "
            f"| {base / each(row):.2f} | {above} | {statistics.median(row['peak']) / MIB:.0f} "
            f"| {statistics.median(row['start']):.1f} |"
        )
    return "\n".join(lines)


def median(row: dict[str, Any]) -> float:
    """Seconds of a step."""
    return statistics.median(row["steps"])


def each(row: dict[str, Any]) -> float:
    """Seconds of a pair."""
    return median(row) / row["batch"]
