"""Write what one GPU, eight and a cluster would give into docs/how-to/many-gpus.md: estimates, nothing of it measured.

    python benchmarks/scale.py            write the table
    python benchmarks/scale.py --check    fail if the page holds another

What was measured goes in as a ratio alone: how many times less a step (CPU seconds a pair) costs than the naive form,
and what several questions about one image save in sampling. Both are read from docs/benchmarks.md. The rest is counted
for Qwen3-VL-4B with 1,024 image tokens, or assumed.
"""

import re
import sys
from dataclasses import dataclass
from pathlib import Path

DOCS = Path(__file__).parents[1] / "docs"
PAGE = DOCS / "how-to" / "many-gpus.md"
BEGIN, END = "<!-- made by benchmarks/scale.py -->\n", "<!-- end -->\n"

FORWARD, BACKWARD, HEAD, TOWER = 8.77, 9.86, 0.84, 4.36
"""TFLOP of one row, counted: language model forward, backward to its inputs and adapters, all logits, vision tower."""
PAIRS, BATCH = 4900, 8
RATES = (350.0, 120.0)
"""TFLOP/s of an H200, assumed: the published code's own if its 4.3 s a step were at 1,024 image tokens, or 361."""
GRADIENT = 1.06e9
"""Bytes of an adapter's gradients: LoRA of rank 128 on all linear layers, 264 million float32."""
NVLINK = 450e9
"""Bytes a second between the GPUs of one machine, the vendor's figure."""
WEIGHTS, BANDWIDTH, TOKENS, TOGETHER = 8.9e9, 4.8e12, 15, 16
"""Bytes of the model in bfloat16, of memory a second (vendor), tokens of an answer, answers at once (`--batch`)."""


@dataclass(frozen=True)
class Span:
    """Seconds at the faster and at the slower assumed rate."""

    fast: float
    slow: float

    def __str__(self) -> str:
        """In seconds below two minutes, else in minutes."""
        if self.slow < 120:
            return f"{self.fast:.2g}–{self.slow:.2g} s"
        return f"{self.fast / 60:.2g}–{self.slow / 60:.2g} min"


def naive() -> float:
    """TFLOP of a pair as the published code does it: 4 policy rows, layers computed twice, and 4 reference rows."""
    policy = 2 * FORWARD + BACKWARD + 2 * HEAD + TOWER
    return 4 * policy + 4 * (FORWARD + HEAD + TOWER)


def measured(pattern: str) -> float:
    """A number of docs/benchmarks.md."""
    found = re.search(pattern, (DOCS / "benchmarks.md").read_text("utf-8"))
    if found is None:
        raise SystemExit(f"docs/benchmarks.md has no {pattern}")
    return float(found[1])


def step(ratio: float, gpus: int = 1) -> Span:
    """One step of a batch shared by so many GPUs of one machine, which then sum gradients in a ring."""
    summing = 2 * (gpus - 1) / gpus * GRADIENT / NVLINK
    return Span(*(BATCH * naive() / ratio / rate / gpus + summing for rate in RATES))


def epoch(one: Span) -> Span:
    """All pairs once."""
    return Span(one.fast * PAIRS / BATCH, one.slow * PAIRS / BATCH)


def sampling(ratio: float, gpus: int = 1) -> Span:
    """All questions answered, eight to an image: prompts that share their image, and words that wait for memory."""
    words = TOKENS * WEIGHTS / BANDWIDTH / TOGETHER
    return Span(*(PAIRS / gpus * ((FORWARD + TOWER) / ratio / rate + words) for rate in RATES))


def table() -> str:
    """The section in Markdown."""
    plain = measured(r"\| medpo, nothing cached \| 4 \|[^|]*\| \*\*([\d.]+)\*\*")
    cached = measured(r"\| medpo, reference and features cached \| 4 \|[^|]*\| \*\*([\d.]+)\*\*")
    shared = measured(r"\| Qwen3-VL-like, 40 M \| \*\*([\d.]+)\*\*")
    rows = [
        ("one H200", "one step, nothing cached", f"8 F / {plain} / R", step(plain)),
        ("", "an epoch, nothing cached", "N / 8 steps", epoch(step(plain))),
        ("", "an epoch, reference and features cached", f"N / {BATCH} · 8 F / {cached} / R", epoch(step(cached))),
        ("", "`sample`", f"N ((f + v) / {shared} / R + 15 W / B / 16)", sampling(shared)),
        ("eight in one machine", "one step, one pair each", f"8 F / {plain} / R / 8 + 2 · 7/8 · G / L", step(plain, 8)),
        ("", "an epoch, nothing cached", "N / 8 steps", epoch(step(plain, 8))),
        ("", "`sample` in 8 parts", "that of one / 8", sampling(shared, 8)),
        ("four such machines", "32 runs (seeds × methods), an epoch each", "that of one", epoch(step(plain))),
        ("", "`sample` in 32 parts", "that of one / 32", sampling(shared, 32)),
    ]
    head = "| estimate for | of | formula | time |\n|---|---|---|---:|\n"
    return head + "".join(f"| {' | '.join(map(str, row))} |\n" for row in rows)


def main() -> int:
    """Write or check."""
    page = PAGE.read_text("utf-8")
    before, rest = page.split(BEGIN)
    new = before + BEGIN + table() + END + rest.split(END)[1]
    if "--check" not in sys.argv:
        PAGE.write_text(new, "utf-8")
        return 0
    if new != page:
        print(f"{PAGE.name} is stale: run python benchmarks/scale.py", file=sys.stderr)
    return int(new != page)


if __name__ == "__main__":
    sys.exit(main())
