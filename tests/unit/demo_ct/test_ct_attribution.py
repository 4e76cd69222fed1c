"""Every shipped file of the CT demo is attributed, with its own hash, and all of it stays small."""

import hashlib
import re
from pathlib import Path

from medpo_cli import demo
from medpo_cli.demo.build.ct_sources import SOURCES

DEMO = Path(demo.__file__).parent
TEXT = (DEMO / "ATTRIBUTION.md").read_text()
ROW = re.compile(
    r"^\| (?P<name>(?:data|ct-llava)/\S+) \| [^|]+ \| (?P<script>\S+\.py) \| (?P<size>\d+)"
    r" \| `(?P<sha>[0-9a-f]{64})` \|$",
    re.M,
)


def shipped():
    return {
        p.relative_to(DEMO / "ct").as_posix(): p
        for part in ("data", "ct-llava")
        for p in (DEMO / "ct" / part).rglob("*")
        if p.is_file()
    }


def test_every_file_is_listed_with_its_hash_and_no_other_is():
    rows = {match["name"]: match for match in ROW.finditer(TEXT)}
    files = shipped()
    assert rows.keys() == files.keys()
    for name, path in files.items():
        data = path.read_bytes()
        assert int(rows[name]["size"]) == len(data), name
        assert rows[name]["sha"] == hashlib.sha256(data).hexdigest(), name
        assert (DEMO / "build" / rows[name]["script"]).exists()


def test_sources_licences_and_the_required_acknowledgement():
    for source in SOURCES:
        assert source.sha256 in TEXT
        assert source.version in TEXT
    for words in (
        "BSD-3-Clause", "Apache-2.0", "CC BY 3.0", "Redistribution and use in source and binary forms",
        "National Cancer Institute and the Foundation for the National Institutes of Health",
    ):  # fmt: skip
        assert words in " ".join(TEXT.split())


def test_all_of_the_demo_stays_under_sixteen_megabytes():
    data = [p for p in DEMO.rglob("*") if p.is_file() and p.suffix in {".npz", ".gz", ".safetensors", ".json"}]
    assert sum(path.stat().st_size for path in data) <= 16_000_000
