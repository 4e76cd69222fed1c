"""Line charts of the page: round ticks, places by hand, curves from step records and summaries."""

import re

import pytest

from medpo_cli.evaluation.page.calibration import calibration
from medpo_cli.evaluation.page.lines import HEIGHT, WIDTH, plot, thinned
from medpo_cli.evaluation.page.model import Line, Lines, Page
from medpo_cli.evaluation.page.render import render
from medpo_cli.evaluation.page.training import training_curves
from medpo_cli.schema.records import Step, Summary


def _step(number: int, **terms: float) -> Step:
    return Step(
        step=number, epoch=number / 4, loss=0.7 - 0.1 * number, terms=terms, rewards={}, margin=0.5 * number,
        accuracy=0.5, grad_norm=1.0, lr=1e-3, tokens=10, seconds=1.0, peak_bytes=0,
    )  # fmt: skip


def test_points_lie_where_the_ticks_say() -> None:
    drawn = plot(Lines("t", "x", (Line("a", 0, ((0.0, 0.0), (2.0, 10.0), (4.0, 5.0))),)))
    assert drawn.x_ticks == ((0.0, "0"), (WIDTH / 4, "1"), (WIDTH / 2, "2"), (3 * WIDTH / 4, "3"), (float(WIDTH), "4"))
    assert [text for _, text in drawn.y_ticks] == ["0", "2.5", "5.0", "7.5", "10.0"]
    assert drawn.paths[0].path == f"M0 {HEIGHT}L{WIDTH // 2} 0L{WIDTH} {HEIGHT // 2}"


@pytest.mark.parametrize(
    ("last", "ticks"), [(1, "01"), (2, "012"), (3, "0123"), (10, ["0", "5", "10"]), (27, ["0", "10", "20", "30"])]
)
def test_whole_numbers_have_whole_ticks(last: int, ticks: str | list[str]) -> None:
    drawn = plot(Lines("t", "decoder layer", (Line("a", 0, ((0.0, 1.0), (float(last), 2.0))),)))
    assert [text for _, text in drawn.x_ticks] == list(ticks)


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (-3.2, 0.4), (1e-7, 3e-7), (5.0, 5.0), (0.0, 0.0), (-2e4, 9e5)])
def test_ticks_enclose_the_values_and_differ(low: float, high: float) -> None:
    drawn = plot(Lines("t", "x", (Line("a", 0, ((0.0, low), (1.0, high))),)))
    texts = [text for _, text in drawn.y_ticks]
    values = [float(text.replace("\u2212", "-")) for text in texts]
    assert 3 <= len(set(texts)) == len(texts) <= 7
    assert values[0] <= low + 1e-12
    assert values[-1] >= high - 1e-12
    places = [float(y) for y in re.findall(r" ([\d.]+)", drawn.paths[0].path)]
    assert all(0 <= y <= HEIGHT for y in places)


def test_many_points_become_means_of_neighbours() -> None:
    points = [(float(k), float(k % 2)) for k in range(1000)]
    few = thinned(points, 100)
    assert len(few) == 100
    assert few[0] == (4.5, 0.5)
    assert sum(x for x, _ in few) / 100 == pytest.approx(499.5)
    assert thinned(points[:3]) == points[:3]


def test_curves_of_a_run_and_a_repeated_step_counts_once() -> None:
    first = _step(1, **{"logps/chosen": -5.0})
    held_out = _step(2, **{"held-out/loss": 0.4, "logps/chosen": -4.0})
    charts = {chart.title: chart for chart in training_curves([first, _step(2), held_out])}
    loss = {line.name: line for line in charts["Loss, nats"].lines}
    assert loss["training"].points == ((1.0, pytest.approx(0.6)), (2.0, pytest.approx(0.5)))
    assert loss["held out"].points == ((2.0, 0.4),)
    assert [line.name for line in charts["Log-probability of the answers, nats"].lines] == ["chosen"]
    assert [line.name for line in charts["Pairs ranked right"].lines] == ["training"]
    assert training_curves([]) == ()


def test_calibration_has_a_line_for_each_arm() -> None:
    columns = {"low": [0.0], "high": [0.1], "predicted": [0.05], "observed": [0.2], "n": [9.0]}
    made = {"metrics": {}, "profile": "medpo/1", "seed": 0, "versions": {}}
    base = Summary(arm="base", curves={"closed.reliability": columns}, **made)  # type: ignore[arg-type]
    difference = Summary(arm="aligned", against="base", **made)  # type: ignore[arg-type]
    (chart,) = calibration([base, Summary(arm="aligned", **made), difference])  # type: ignore[arg-type]
    assert [(line.name, line.points) for line in chart.lines] == [("base", ((0.05, 0.2),))]
    assert chart.diagonal
    assert calibration([difference]) == ()


def test_the_page_draws_them() -> None:
    charts = training_curves([_step(k, **{"held-out/loss": 0.3}) for k in range(1, 4)])
    page = Page(title="t", subtitle="s", cases=(), total=0, with_text=False, training=charts)
    html = render(page)
    assert html.count('class="chart lines"') == len(charts) == 3
    assert html.count("<circle") == 3
    assert "nan" not in re.sub(r"<style>.*?</style>", "", html, flags=re.DOTALL).lower()
