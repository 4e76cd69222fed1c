"""The page: one file, nothing from outside, nothing unescaped, no word that was not asked for."""

import base64
import io
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medpo_cli.errors import CannotCreateError
from medpo_cli.evaluation.headline import headline
from medpo_cli.evaluation.page import (
    Answer,
    CaseView,
    Chip,
    Outline,
    Page,
    Picture,
    write_page,
    write_records_page,
)
from medpo_cli.evaluation.page.draw import outline, png_address
from medpo_cli.evaluation.page.render import render
from medpo_cli.evaluation.page.words import marked, spans
from medpo_cli.evaluation.summaries import summarise
from medpo_cli.io.context import Context
from medpo_cli.schema.records import Case, ImageRef, Pair, Policy, Region, Response, Sample, Score, Span

SECRET = "Zebrafish"  # a word of the answers that occurs nowhere else


def _pixels(level: int) -> np.ndarray:
    return np.full((8, 10, 3), level, np.uint8)


def _case(number: int = 1, *, fixed: bool = False, broken: bool = False, with_text: bool = True) -> CaseView:
    mask = np.zeros((8, 10), bool)
    mask[2:5, 3:7] = True
    return CaseView(
        id=f"case-{number}",
        kind="report" if number % 2 else "closed question",
        prompt=marked(f"What {SECRET}?", None, with_text=with_text),
        pictures=(Picture("intact", _pixels(10), (Outline("nodule", outline(mask)),)), Picture("control", _pixels(10))),
        answers=(
            Answer("base", marked(f"No {SECRET} here.", f"A {SECRET} here.", with_text=with_text), right=False),
            Answer("aligned", marked(f"A {SECRET} here.", f"No {SECRET} here.", with_text=with_text), right=True),
        ),
        chips=(Chip("nodule", "present", (("base", "absent", False), ("aligned", "present", True))),),
        fixed=fixed,
        broken=broken,
    )  # fmt: skip


def _rows(*names: str) -> tuple:  # type: ignore[type-arg]
    def score(item: int, arm: str, right: int) -> Score:
        metrics = {"closed.items": 1.0, "closed.right": float(right), "closed.lesion_chances": 1.0}
        return Score(id=str(item), arm=arm, metrics=metrics | {"closed.flips_lesion": 0.0}, profile="medpo/1")

    arms = {arm: [score(k, arm, k % 3 < good) for k in range(9)] for arm, good in (("base", 1), ("aligned", 2))}
    return tuple(headline(summarise(arms, resamples=200, seed=0, versions={}), names or ("closed.accuracy",)))


def _page(*cases: CaseView, with_text: bool = True, total: int | None = None, rows: tuple = ()) -> Page:  # type: ignore[type-arg]
    grounding = (("Closed questions", _rows("closed.flip_lesion")),) if rows else ()
    return Page(
        title="Aligned against base", subtitle="9 closed questions", cases=cases, total=total or len(cases),
        with_text=with_text, rows=rows, errors=rows, grounding=grounding, facts=(("model", "m@1"),), notes=("Note.",),
    )  # fmt: skip


class _Outside(HTMLParser):
    """Collects what a browser would fetch, and checks that tags close in order."""

    VOID = frozenset({"meta", "link", "input", "br", "img", "image", "use", "path"})

    def __init__(self) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.fetched += [value or "" for name, value in attrs if name in {"src", "href", "action", "data", "srcset"}]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.fetched += [value or "" for name, value in attrs if name in {"src", "href"}]

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag


def _check(html: str) -> _Outside:
    parser = _Outside()
    parser.feed(html)
    parser.close()
    return parser


def test_nothing_is_fetched_and_tags_close() -> None:
    html = render(_page(_case(1, fixed=True), _case(2), rows=_rows()))
    found = _check(html)
    assert found.open == []
    assert found.fetched
    assert all(address.startswith(("data:", "#")) for address in found.fetched)
    assert not re.search(r"https?://|@import|url\(", html)
    assert "default-src 'none'" in html


def test_equal_pictures_are_stored_once() -> None:
    assert render(_page(_case(1), _case(2))).count("data:image/png") == 1


def test_everything_from_records_is_escaped() -> None:
    evil = "</script><script>alert(1)</script>\"'&"
    case = CaseView(
        id=evil, kind=evil, prompt=marked(evil, None, with_text=True),
        pictures=(Picture(evil, _pixels(0), (Outline(evil, "M0 0h1"),), evil),),
        answers=(Answer(evil, marked(evil, "x", with_text=True), True),),
        chips=(Chip(evil, evil, ((evil, evil, False),)),),
    )  # fmt: skip
    html = render(
        Page(title=evil, subtitle=evil, cases=(case,), total=1, with_text=True, facts=((evil, evil),), notes=(evil,))
    )
    assert "<script>alert" not in html
    assert html.count("</script>") == 1
    assert _check(html).open == []


def test_no_word_without_with_text() -> None:
    html = render(_page(_case(with_text=False), with_text=False))
    assert SECRET.lower() not in html.lower()
    assert "Words are masked" in html
    assert html.count('class="masked mark"') == 2  # "No" in one answer, "A" in the other


def test_with_text_the_words_are_there_and_the_differing_ones_marked() -> None:
    html = render(_page(_case()))
    assert html.count(SECRET) == 3
    assert re.findall(r"<mark>(.*?)</mark>", html) == ["No", "A"]
    assert "Words are masked" not in html


def test_the_cap_is_stated() -> None:
    assert "2 of 240 are on this page." in render(_page(_case(1), _case(2), total=240))
    some = render(_page(_case(1), _case(2, fixed=True), total=240))
    assert "2 of 240 cases are on this page, fixed and broken ones first." in some
    assert "on this page" not in render(_page(_case(1), _case(2)))


def test_a_page_of_cases_only_has_no_table() -> None:
    html = render(_page(_case()))
    assert '<table class="results">' not in html
    assert "Errors by kind" not in html


def test_rows_show_value_interval_and_difference() -> None:
    html = render(_page(rows=_rows()))
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html))
    assert re.search(r"closed questions right % 9 33\.3 .*? to .*? 66\.7 .*? to .*? \+33\.3 .*? 3 / 0", text)


def test_writing_is_atomic_and_repeatable(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    write_page(path, _page(_case()))
    first = path.read_bytes()
    write_page(path, _page(_case()))
    assert path.read_bytes() == first
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "page.html").mkdir()
    with pytest.raises(CannotCreateError, match=r"page\.html"):
        write_page(tmp_path / "page.html", _page(_case()))


def _inside(path: str, shape: tuple[int, int]) -> np.ndarray:
    """The region that an outline encloses: cross every vertical edge from the left."""
    edges = np.zeros((shape[0], shape[1] + 1), int)
    for x, y, length in re.findall(r"M(\d+) (\d+)v(\d+)", path):
        edges[int(y) : int(y) + int(length), int(x)] = 1
    return np.cumsum(edges, axis=1)[:, :-1] % 2 == 1


def test_outline_encloses_exactly_the_mask() -> None:
    generator = np.random.default_rng(0)
    for _ in range(50):
        mask = generator.random((7, 9)) < 0.4
        np.testing.assert_array_equal(_inside(outline(mask), mask.shape), mask)


def test_outline_by_hand() -> None:
    mask = np.zeros((4, 4), bool)
    mask[1, 1:3] = True
    assert outline(mask) == "M1 1h2M1 2h2M1 1v1M3 1v1"
    assert outline(np.zeros((3, 3), bool)) == ""


def test_png_keeps_every_pixel() -> None:
    colour = np.random.default_rng(1).integers(0, 256, (5, 6, 3)).astype(np.uint8)
    grey = np.repeat(colour[..., :1], 3, axis=2)
    for pixels in (colour, grey):
        data = base64.b64decode(png_address(pixels).split(",")[1])
        np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(data)).convert("RGB")), pixels)


def test_marks_are_whole_words_of_the_longer_text() -> None:
    words = marked("A small left effusion.", "A large left effusion", with_text=True)
    assert [(word.text, word.marked) for word in words] == [
        ("A ", False), ("small ", True), ("left ", False), ("effusion.", False),
    ]  # fmt: skip
    assert [word.text for word in marked("A b", "A c", with_text=False)] == [None, None]
    assert [word.marked for word in marked("A b", "A c", with_text=False)] == [False, True]


def test_spans_mark_words_they_touch() -> None:
    words = spans("No small effusion", [(3, 8)], with_text=True)
    assert [word.marked for word in words] == [False, True, False]


DRIVER = """
<script>
addEventListener("error", (event) => { document.title = "error " + event.message; });
const log = [];
const key = (name) => document.body.dispatchEvent(new KeyboardEvent("keydown", {key: name, bubbles: true}));
const shown = (item) => getComputedStyle(item).display !== "none";
const look = () => log.push([...document.querySelectorAll(".case")].findIndex(shown)
  + ":" + document.getElementById("position").textContent);
look(); key("ArrowRight"); look(); key("ArrowLeft"); key("ArrowLeft"); look();
key("f"); look(); key("b"); look(); key("ArrowRight"); look(); key("a"); look();
key("o"); log.push(getComputedStyle(document.querySelector(".outline")).display);
document.getElementById("kind").value = "closed question";
document.getElementById("kind").dispatchEvent(new Event("change")); look();
document.querySelectorAll(".strip a")[3].click(); look();
log.push(document.querySelector(".shown use").getBoundingClientRect().width > 50);
document.body.innerHTML = ""; document.body.textContent = JSON.stringify(log);
</script></body>"""


@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs headless chromium")
def test_keys_filters_and_clicks_in_a_browser(tmp_path: Path) -> None:
    cases = (_case(1), _case(2, fixed=True), _case(3, broken=True), _case(4, fixed=True, broken=True))
    path = tmp_path / "page.html"
    path.write_text(render(_page(*cases, rows=_rows())).replace("</body>", DRIVER))
    command = [
        "chromium",
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--dump-dom",
        f"--user-data-dir={tmp_path}/p",
    ]
    done = subprocess.run([*command, path.as_uri()], capture_output=True, text=True, timeout=120, check=True)
    found = json.loads(re.findall(r"\[.*\]", done.stdout)[-1])
    assert found == [
        "0:1 of 4", "1:2 of 4", "3:4 of 4",  # steps wrap around
        "3:2 of 2", "3:2 of 2", "2:1 of 2", "2:3 of 4",  # fixed, broken, next broken, all: the case stays
        "none",  # outlines off
        "1:1 of 2", "3:2 of 2",  # closed questions only; a click on the strip
        True,
    ]  # fmt: skip
    assert "<title>error" not in done.stdout


def test_records_are_shown_with_their_spans(tmp_path: Path) -> None:
    Image.fromarray(np.full((6, 6), 9, np.uint8)).save(tmp_path / "a.png")
    fields = {"image": ImageRef(path="a.png"), "prompt": "Look", "task": "report"}
    pair = Pair(
        id="p", **fields, chosen="No small effusion", rejected="A small effusion", origin="corrected",
        on_policy="rejected", spans=[Span(kind="status", chosen=(0, 2), rejected=(0, 1), source="rule")],
    )  # fmt: skip
    gone = Case(id="gone", image=ImageRef(path="b.png"), prompt="Look", task="report")
    sample = Sample(
        id="s", **fields, policy=Policy(model="m", digest="d"), responses=[Response(text=SECRET), Response(text="b")]
    )
    rejected: list[str | None] = []
    context = Context(tmp_path, reject=lambda item, _error: rejected.append(item))
    path = tmp_path / "page.html"
    assert write_records_page(path, iter([pair, gone, sample]), context, with_text=True) == 3
    html = path.read_text()
    assert rejected == ["gone"]
    assert re.findall(r"<mark>(.*?)</mark>", html) == ["No", "A"]
    assert re.findall(r"<h4>(.*?)</h4>", html) == ["chosen", "rejected (the policy&#39;s own)", "answer 1", "answer 2"]
    assert _check(html).open == []
    write_records_page(path, [sample], context, with_text=False)
    assert SECRET not in path.read_text()


@pytest.mark.parametrize(("label", "shown"), [("nodule", "nodule"), (f"nodule of {SECRET}", "region 1")])
def test_a_regions_own_words_are_masked_too(tmp_path: Path, label: str, shown: str) -> None:
    """A label is free text; without texts it stands on the page only if it is a finding of the lexicon."""
    Image.fromarray(np.full((6, 6), 9, np.uint8)).save(tmp_path / "a.png")
    region = Region(label=label, box=(1, 1, 4, 4))
    case = Case(id="c", image=ImageRef(path="a.png"), prompt="Look", task="report", regions=[region])
    titles = []
    for with_text in (False, True):
        write_records_page(tmp_path / "page.html", [case], Context(tmp_path), with_text=with_text)
        titles += re.findall(r"<path class=\"outline\".*?<title>(.*?)</title>", (tmp_path / "page.html").read_text())
    assert titles == [shown, label]
