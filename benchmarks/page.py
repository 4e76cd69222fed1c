"""A page with 2,000 cases in headless Chromium: bytes, and milliseconds until it is loaded and can be stepped through.

Run: ``python benchmarks/page.py [--cases 2000] [--side 112]``; needs ``chromium``. Two cases share three pictures,
as questions on one image do; pictures hold noise, which compresses worse than any scan.
"""

import argparse
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from medpo_cli.evaluation.page import Answer, CaseView, Outline, Page, Picture, write_page
from medpo_cli.evaluation.page.draw import outline
from medpo_cli.evaluation.page.words import marked

CHROMIUM = [
    "chromium",
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--dump-dom",
]
WATCH = """<script>addEventListener("load", () => setTimeout(() => {
  const loaded = performance.getEntriesByType("navigation")[0].loadEventEnd, began = performance.now();
  for (let k = 0; k < 20; k++) document.getElementById("next").click();
  document.body.getBoundingClientRect();
  document.title = `ms ${loaded.toFixed(0)} ${((performance.now() - began) / 20).toFixed(2)}`;
}, 0));</script></body>"""


def cases(count: int, side: int) -> Iterator[CaseView]:
    """Cases as an evaluation shows them: three pictures, an outline, three texts with differing words."""
    random = np.random.default_rng(0)
    mask = np.zeros((side, side), bool)
    mask[side // 4 : side // 2, side // 3 : side // 2] = True
    border = (Outline("nodule", outline(mask)),)
    before, after = (
        "There is a small right pleural effusion. No nodule is seen. ",
        "No pleural effusion. No nodule is seen. ",
    )
    pictures: tuple[Picture, ...] = ()
    for number in range(count):
        if number % 2 == 0:
            views = [np.repeat(random.integers(96, 112, (side, side, 1), np.uint8), 3, axis=2) for _ in range(3)]
            names = ("intact", "lesion destroyed", "control")
            pictures = tuple(Picture(name, view, border) for name, view in zip(names, views, strict=True))
        texts = ((before, after), (after, before), (after, before))
        answers = [
            Answer(title, marked(3 * text, 3 * other, with_text=True), right=title != "base")
            for title, (text, other) in zip(("base", "reference", "aligned"), texts, strict=True)
        ]
        prompt = marked("Describe the findings on this chest image.", None, with_text=True)
        yield CaseView(f"case-{number}", "report", prompt, pictures, tuple(answers), fixed=number % 3 == 0)


def main() -> None:
    """Write, open, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=2000)
    parser.add_argument("--side", type=int, default=112)
    asked = parser.parse_args()
    if shutil.which("chromium") is None:
        print("skipped: chromium is not installed")
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "page.html")
        views = tuple(cases(asked.cases, asked.side))
        write_page(path, Page("Aligned against base", "benchmark", views, len(views), with_text=True))
        size = path.stat().st_size
        html = path.read_text()
        path.write_text(html.replace("</body>", WATCH))
        shown = subprocess.run(
            [*CHROMIUM, f"--user-data-dir={folder}/profile", path.as_uri()], capture_output=True, text=True, check=True
        ).stdout
    found = re.search(r"<title>ms (\d+) ([\d.]+)</title>", shown)
    if found is None:
        raise SystemExit("the page did not load")
    print(f"{html.count('<article')} of {asked.cases} cases, {size / 1e6:.1f} MB")
    print(f"loaded after {found[1]} ms; a step to the next case takes {found[2]} ms")


if __name__ == "__main__":
    main()
