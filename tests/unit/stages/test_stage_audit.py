"""The audit: what is drawn, what its files hold, and what a spreadsheet or a browser could do with them."""

import csv
import io
import json
import re
import shutil
import subprocess
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import msgspec
import pytest

from medpo_cli.demo import MODEL
from medpo_cli.errors import CannotCreateError, RecordError, UnavailableError
from medpo_cli.evaluation.page.audit import pieces
from medpo_cli.io.context import Context
from medpo_cli.schema.config import EditConfig
from medpo_cli.schema.records import ImageRef, Pair, Policy, Response, Sample, Span
from medpo_cli.stages import edit
from medpo_cli.stages.audit import COLUMNS, Audit, Desk, files, safe_cell, safe_id, text_digest

TRUTH = "There is a small left pleural effusion. No pneumothorax."
KINDS = ("side", "severity", "status")


def pair(number: int, kind: str = "side", **more: object) -> Pair:
    fields = {
        "id": f"p{number}.0.0", "prompt": "Describe.", "reference": TRUTH, "group": "patient-SECRET",
        "chosen": TRUTH, "rejected": TRUTH.replace("left", "right"), **more,
    }  # fmt: skip
    return Pair(
        image=ImageRef(path="SECRET.png"), task="report", origin="counterfactual", on_policy="chosen",
        spans=[Span(kind=kind, label="pleural_effusion", chosen=(17, 21), rejected=(17, 22), source="t")], **fields,
    )  # fmt: skip


def drawn(pairs: list[Pair], size: int, seed: int = 0) -> list[Pair]:
    audit = Audit(size, seed)
    for one in pairs:
        audit.take(one)
    return audit.drawn()


def many() -> list[Pair]:
    """900 side edits, 90 severity edits, 3 status edits."""
    kinds = ["side"] * 900 + ["severity"] * 90 + ["status"] * 3
    return [pair(number, kind) for number, kind in enumerate(kinds)]


def test_rare_kinds_are_in_the_audit_as_often_as_frequent_ones() -> None:
    """3 kinds, 20 places: 3 status (all there are), the rest in turn: 9 and 8."""
    found = drawn(many(), 20)
    assert Counter(one.spans[0].kind for one in found) == {"status": 3, "severity": 9, "side": 8}
    assert [one.spans[0].kind for one in found[:3]] == ["severity", "side", "status"]
    assert len({one.id for one in found}) == 20


def test_the_draw_depends_on_the_seed_alone_and_not_on_the_order() -> None:
    first, again, other = drawn(many(), 12), drawn(many()[::-1], 12), drawn(many(), 12, seed=1)
    assert [one.id for one in first] == [one.id for one in again]
    assert [one.id for one in first] != [one.id for one in other]


def test_the_draw_is_even_over_the_stream() -> None:
    """Of 900 pairs 300 are drawn over ten seeds: about 100 of each third (binomial: sd 8)."""
    chosen = [int(one.id[1:-4]) for seed in range(10) for one in drawn([pair(k) for k in range(900)], 30, seed)]
    thirds = Counter(number // 300 for number in chosen)
    assert all(60 < thirds[third] < 140 for third in range(3))


def test_fewer_pairs_than_places_are_all_in_it() -> None:
    assert len(drawn([pair(number) for number in range(5)], 50)) == 5
    assert drawn([], 50) == []


def written(folder: Path, *pairs: Pair, size: int = 50) -> tuple[list[dict[str, str]], str]:
    desk = Desk(EditConfig(audit=str(folder / "audit"), audit_size=size), Context())
    assert list(desk.passed("s", pairs)) == list(pairs)
    desk.close()
    text = (folder / "audit.csv").read_bytes().decode("utf-8-sig")
    return list(csv.DictReader(io.StringIO(text, newline=""))), (folder / "audit.html").read_text("utf-8")


def test_the_table_holds_what_a_reviewer_needs_and_empty_verdicts(tmp_path: Path) -> None:
    (row,), _ = written(tmp_path, pair(1))
    assert tuple(row) == COLUMNS
    assert row == {
        "id": "p1.0.0", "kind": "side", "prompt": "Describe.", "reference": TRUTH, "chosen": TRUTH,
        "rejected": TRUTH.replace("left", "right"), "difference": "right → left", "verdict": "", "comment": "",
        "digest": text_digest(pair(1)),
    }  # fmt: skip


def test_no_patient_and_no_file_name_is_in_either_file(tmp_path: Path) -> None:
    _, page = written(tmp_path, pair(1))
    assert "SECRET" not in page + (tmp_path / "audit.csv").read_text()


@pytest.mark.parametrize("start", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n", "  =cmd|' /C calc'!A0", "＝1"])
def test_no_cell_starts_a_formula(tmp_path: Path, start: str) -> None:
    """The reviewer's spreadsheet must show these, never run them."""
    text = start + TRUTH
    shift = len(start)
    spans = [Span(kind="side", chosen=(17 + shift, 21 + shift), rejected=(17 + shift, 22 + shift), source="t")]
    hostile = pair(1, prompt=start, reference=text, chosen=text, rejected=text.replace("left", "right"))
    (row,), _ = written(tmp_path, msgspec.structs.replace(hostile, spans=spans, id="-1"))
    assert all(not value.lstrip().startswith(("=", "+", "-", "@", "＝")) for value in row.values())
    assert row["chosen"] == f"'{text}"


@pytest.mark.parametrize(
    ("text", "expected"),
    [("No nodule", "No nodule"), ("", ""), ("3 - 4 cm", "3 - 4 cm"), ("-x", "'-x"), (" =x", "' =x")],
)
def test_other_cells_stay_as_they_are(text: str, expected: str) -> None:
    assert safe_cell(text) == expected


@pytest.mark.parametrize(("name", "expected"), [("a1", "a1"), ("1.2.3", "'1.2.3"), ("1e5", "'1e5"), ("@x", "'@x")])
def test_ids_that_a_spreadsheet_would_rewrite_are_protected(name: str, expected: str) -> None:
    assert safe_id(name) == expected


def test_quotes_and_line_breaks_survive_the_table(tmp_path: Path) -> None:
    text = 'He said "left", so:\r\nleft effusion,\nno "x"; 胸部 \U0001fac1'
    (row,), _ = written(tmp_path, pair(1, reference=text))
    assert row["reference"] == text


class _Outside(HTMLParser):
    """Tags that could fetch, and the marked stretches."""

    def __init__(self) -> None:
        super().__init__()
        self.fetches: list[str] = []
        self.marked: list[str] = []
        self._inside = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._inside = tag == "mark"
        self.fetches += [value for name, value in attrs if name in ("src", "href", "action") and value != "data:,"]

    def handle_endtag(self, tag: str) -> None:
        self._inside = False

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.marked.append(data)


def test_the_page_stands_alone_and_marks_exactly_the_difference(tmp_path: Path) -> None:
    _, page = written(tmp_path, pair(1), pair(2))
    parser = _Outside()
    parser.feed(page)
    assert parser.fetches == []
    assert parser.marked == ["left", "right"] * 2
    assert "default-src &#39;none&#39;" in page or "default-src 'none'" in page
    assert "because <code>--audit</code> asked for it" in page


def test_text_of_records_is_escaped_on_the_page(tmp_path: Path) -> None:
    attack = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>"
    _, page = written(tmp_path, pair(1, prompt=attack, reference=attack))
    assert "<img" not in page
    assert page.count("<script") == 2  # the name of the audit, the page's own


def test_an_audit_without_pairs_says_so(tmp_path: Path) -> None:
    rows, page = written(tmp_path)
    assert rows == []
    assert "No pair was accepted." in page


def test_pieces_join_to_the_text() -> None:
    text = "a left lung\nand more"
    assert pieces(text, [(2, 6), (11, 15)]) == [
        ("a ", False),
        ("left", True),
        (" lung", False),
        ("\nand", True),
        (" more", False),
    ]
    assert pieces(text, []) == [(text, False)]
    assert pieces("", []) == []


@pytest.mark.parametrize("name", ["out/a", "out/a.csv", "out/a.html", "out/a.CSV"])
def test_an_ending_of_the_name_does_not_count(name: str) -> None:
    assert files(name) == (Path("out/a.csv"), Path("out/a.html"))


def test_a_dot_inside_the_name_stays() -> None:
    assert files("v1.2") == (Path("v1.2.csv"), Path("v1.2.html"))


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    desk = Desk(EditConfig(audit=str(tmp_path / "file" / "audit")), Context())
    with pytest.raises(CannotCreateError):
        desk.close()


@pytest.mark.parametrize("setting", ["audit", "tokenizer"])
@pytest.mark.parametrize("against", [{"emit": "ranking"}, {"apply_review": "r.csv"}])
def test_settings_that_contradict_each_other_are_refused(setting: str, against: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=f"^{setting}: "):
        EditConfig(**{setting: "x"}, **against)


# --- the tokenizer -----------------------------------------------------------------------------


def sample(*answers: str) -> Sample:
    return Sample(
        id="s", image=ImageRef(path="x.png"), prompt="Describe.", reference=TRUTH, task="report",
        policy=Policy(model="m", digest="0" * 64), responses=[Response(text=text) for text in answers],
    )  # fmt: skip


def test_pairs_of_the_stage_hold_on_the_demo_tokenizer() -> None:
    plain = list(edit.run([sample(TRUTH)], EditConfig(per_sample=9), Context()))
    assert list(edit.run([sample(TRUTH)], EditConfig(per_sample=9, tokenizer=str(MODEL)), Context())) == plain
    assert len(plain) >= 4


def test_a_pair_that_does_not_hold_is_rejected_under_the_id_of_its_sample() -> None:
    """A tokenizer that reads all of an answer as one token: every edit reaches far out of its span."""
    rejects: list[tuple[str | None, str, str | None]] = []
    context = Context(reject=lambda name, error: rejects.append((name, error.reason, error.path)))
    desk = Desk(EditConfig(), context)
    desk._tokenize = lambda text: ([1], [(0, len(text))])
    assert list(desk.passed("s7", [pair(1), pair(2)])) == []
    assert rejects == [("s7", "straddle", "$.spans")] * 2


def test_what_the_tokenizer_refuses_is_not_audited(tmp_path: Path) -> None:
    desk = Desk(EditConfig(audit=str(tmp_path / "a")), Context(reject=lambda _name, _error: None))
    desk._tokenize = lambda text: ([1], [(0, len(text))])
    list(desk.passed("s", [pair(1)]))
    desk.close()
    assert "No pair was accepted." in (tmp_path / "a.html").read_text()


def test_from_python_a_pair_that_does_not_hold_is_an_exception() -> None:
    desk = Desk(EditConfig(), Context())
    desk._tokenize = lambda text: ([1], [(0, len(text))])
    with pytest.raises(RecordError) as caught:
        list(desk.passed("s", [pair(1)]))
    assert caught.value.reason == "straddle"


def test_a_folder_without_a_tokenizer_is_refused_before_the_first_record(tmp_path: Path) -> None:
    def untouched() -> None:
        raise AssertionError("a record was read")
        yield

    for folder in (tmp_path, tmp_path / "missing"):
        with pytest.raises(UnavailableError, match="tokenizer"):
            list(edit.run(untouched(), EditConfig(tokenizer=str(folder)), Context()))


# --- in a browser ------------------------------------------------------------------------------

DRIVER = """
<script>
const seen = [];
const here = () => [...document.querySelectorAll(".case")].findIndex((item) => item.classList.contains("here"));
const press = (key, target = document.activeElement || document.body) =>
  target.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true }));
const note = () => seen.push(`${here()}:${document.getElementById("done").textContent}`);
note();
press("a"); note();
press("r"); note();
press("ArrowUp"); note();
press("u"); note();
press("c");
document.activeElement.value = "=HYPERLINK(1)";
press("a"); note();
press("Escape"); press("ArrowUp"); press("ArrowUp"); note();
document.getElementById("open").click(); note();
let saved = "";
URL.createObjectURL = (blob) => { blob.text().then((text) => {
  document.title = JSON.stringify([seen, text]); }); return "#"; };
HTMLAnchorElement.prototype.click = () => {};
press("s");
</script></body>"""


@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs headless chromium")
def test_keys_judge_and_save_what_a_review_reads(tmp_path: Path) -> None:
    from medpo_cli.stages.review import read_review

    written(tmp_path, *(pair(number) for number in range(3)), msgspec.structs.replace(pair(4), id="1.0.0"))
    page = tmp_path / "driven.html"
    page.write_text((tmp_path / "audit.html").read_text().replace("</body>", DRIVER))
    command = [
        "chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=3000", "--dump-dom",
        f"--user-data-dir={tmp_path}/p",
    ]  # fmt: skip
    done = subprocess.run([*command, page.as_uri()], capture_output=True, text=True, timeout=120, check=True)
    seen, saved = json.loads(re.search(r"<title>(.*?)</title>", done.stdout, re.DOTALL)[1].replace("&amp;", "&"))
    assert seen == [
        "0:0 of 4 judged", "1:1 of 4 judged", "2:2 of 4 judged",  # accept, reject: on to the next
        "1:2 of 4 judged", "2:2 of 4 judged",  # back, unsure instead of reject
        "2:2 of 4 judged",  # typing a comment judges nothing
        "0:2 of 4 judged", "2:2 of 4 judged",  # the next open one
    ]  # fmt: skip
    (tmp_path / "saved.csv").write_text(saved, newline="")
    rows = read_review(tmp_path / "saved.csv")
    assert sorted(row.verdict for row in rows.values()) == ["", "", "accept", "unsure"]
    assert rows.keys() == {"p0.0.0", "p1.0.0", "p2.0.0", "1.0.0"}
    assert '"\'=HYPERLINK(1)"' in saved
