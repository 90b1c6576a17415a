"""Charts of the documents: what is drawn is what was told."""

from pathlib import Path
from xml.etree import ElementTree

import pictures
import pytest

DOCS = Path(__file__).resolve().parents[2] / "docs/pictures"
SVG = "{http://www.w3.org/2000/svg}"
CHART = pictures.Chart("A & B", "percentunit", {"<a>": [(600.0, 0.0), (1200.0, 0.5)]})


def test_each_series_is_a_line_from_the_left_to_the_right():
    root = ElementTree.fromstring(pictures.sheet([CHART, CHART, CHART]))  # noqa: S314 - our own
    lines = [line.get("points").split() for line in root.iter(f"{SVG}polyline")]
    bottom = pictures.HEIGHT - pictures.BOTTOM
    assert lines == [[f"{pictures.LEFT},{bottom}", f"{pictures.WIDTH - pictures.RIGHT},34"]] * 3
    said = {text.text for text in root.iter(f"{SVG}text")}
    assert {"A & B", "<a>", "50%", "0%", "00:15"} <= said


def test_each_named_panel_is_there_and_its_series_have_the_names_of_its_legend():
    def ask(questions):
        assert all("$" not in parameters["query"] for _, parameters in questions)
        answer = {"metric": {"ins": "infra-1", "phase": "tls"}, "values": [[60, "1"], [120, "2"]]}
        return [{"result": [answer]} for _ in questions]

    drawn = pictures.charts(ask, 120)
    assert len(drawn) == len(pictures.SHOWN)
    assert "infra-1 waits for disk" in drawn[0].series
    assert drawn[3].series == {"tls": [(60, 1.0), (120, 2.0)]}


@pytest.mark.parametrize(
    ("value", "thousand", "top"),
    [(0.67, 1000, 0.7), (498.0, 1000, 500.0), (21 * 1024.0**3, 1024, 30 * 1024.0**3), (0, 1000, 1)],
)
def test_an_axis_ends_at_a_round_number(value, thousand, top):
    assert pictures._ceiling(value, thousand) == pytest.approx(top)


def test_pictures_are_few_and_small():
    found = list(DOCS.glob("dashboards*"))
    assert 1 <= len(found) <= 4
    assert all(path.stat().st_size < 100_000 for path in found)
