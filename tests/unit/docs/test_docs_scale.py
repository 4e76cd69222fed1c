"""docs/how-to/many-gpus.md: its estimates are called estimates and follow from the figures that it names."""

import re
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "how-to" / "many-gpus.md").read_text("utf-8")
SCALE = runpy.run_path(str(ROOT / "benchmarks" / "scale.py"))


def test_the_table_is_that_of_the_script() -> None:
    assert SCALE["BEGIN"] + SCALE["table"]() + SCALE["END"] in PAGE
    assert "Estimates: no GPU was used" in PAGE


def test_a_step_by_hand() -> None:
    """8 pairs of 4 (2 x 8.77 + 9.86 + 2 x 0.84 + 4.36) + 4 (8.77 + 0.84 + 4.36) = 189.64 TFLOP."""
    assert SCALE["naive"]() == pytest.approx(189.64)
    assert SCALE["step"](3.3).fast == pytest.approx(8 * 189.64 / 3.3 / 350)
    eight = SCALE["step"](3.3, 8)
    assert eight.slow == pytest.approx(189.64 / 3.3 / 120 + 2 * 7 / 8 * 1.06e9 / 450e9)


def test_the_ratios_are_the_measured_ones() -> None:
    measured = (ROOT / "docs" / "benchmarks.md").read_text("utf-8")
    ratios = set(re.findall(r"8 F / ([\d.]+) / R", PAGE))
    assert len(ratios) == 2
    assert all(f"**{ratio}**" in measured for ratio in ratios)
