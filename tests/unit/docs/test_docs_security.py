"""docs/explanation/security.md: every promise names a test, and every test that it names is there."""

import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[2]
PAGE = (TESTS.parent / "docs" / "explanation" / "security.md").read_text("utf-8")
ROWS = [
    [cell.strip() for cell in line.strip("|").split(" | ")]
    for line in PAGE.splitlines()
    if line.startswith("| ") and not line.endswith("| proven by |")
]
NAMED = sorted(set(re.findall(r"`([\w/]+/test_\w+\.py(?:::\w+)?)`", PAGE)))


@pytest.mark.parametrize("row", ROWS, ids=[row[0] for row in ROWS])
def test_every_promise_names_its_test(row: list[str]) -> None:
    assert len(row) == 3
    assert re.search(r"`[\w/]+/test_\w+\.py(::\w+)?`", row[2])


@pytest.mark.parametrize("name", NAMED)
def test_every_named_test_is_there(name: str) -> None:
    file, _, function = name.partition("::")
    assert f"def {function or 'test_'}" in (TESTS / file).read_text()


def test_the_page_was_read() -> None:
    assert len(ROWS) > 20
    assert len(NAMED) > 20
