"""What benchmarks tell comes onto the page; the page is that of the results that are kept."""

import json

import pytest

from tools import benchmarking as page

TOLD = [
    {"title": "Seconds", "head": ["entries", "ours", "loop"], "rows": [["20", "1.50", "3.0 x"]]}
]


@pytest.fixture
def report(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(page.ROOT / "test/bench"))
    import report

    assert report.VARIABLE == page.VARIABLE
    monkeypatch.setenv(report.VARIABLE, str(tmp_path / "tables.json"))
    return report


def test_tables_are_printed_and_handed_over(report, tmp_path, capsys):
    report.table("Seconds", ["entries", "ours", "loop"], [(20, 1.5, report.ratio(1.5, 4.5))])
    report.table("More", ["", "n"], [])
    assert capsys.readouterr().out.splitlines()[1:4] == [
        "Seconds",
        "entries  ours   loop",
        "20       1.50  3.0 x",
    ]
    handed = page.tables(tmp_path / "tables.json")
    assert handed == [*TOLD, {"title": "More", "head": ["", "n"], "rows": []}]


def test_the_page_tells_what_was_compared_how_it_came_out_and_where():
    where = page.circumstances()
    text = page.document({"portal": {**where, "tables": TOLD}})
    assert "against a loop of Salt's own file.managed" in text
    assert "| entries | ours | loop |\n| --- | --: | --: |\n| 20 | 1.50 | 3.0 x |\n" in text
    assert f"{where['when']}, {where['machine']}." in text
    assert "Salt 3" in text
    assert "`make bench BENCH=repo` records one" in text
    assert "Usage" not in text


def test_the_page_is_that_of_the_results():
    assert page.PAGE.read_text(encoding="utf-8") == page.document(page.read())
    speed = page.repository_speed(page.read()["repo"])
    assert speed in page.REPOSITORY.read_text(encoding="utf-8")
    assert "| formula, cold |" in speed


def test_a_result_of_one_is_kept_beside_those_of_others(tmp_path, monkeypatch):
    monkeypatch.setattr(page, "RESULTS", tmp_path / "results.json")
    monkeypatch.setattr(page, "PAGE", tmp_path / "benchmarks.md")
    monkeypatch.setattr(page, "REPOSITORY", tmp_path / "repository.md")
    bench = tmp_path / "bench_one.py"
    bench.write_text(
        "'''One.'''\nimport os\nopen(os.environ['" + page.VARIABLE + "'], 'w').write('[]')\n"
    )
    bench.chmod(0o755)
    page.write({"other": {"when": "then", "machine": "there", "tables": TOLD}})
    assert page.run(["one"]) == []
    assert set(json.loads(page.RESULTS.read_text())) == {"one", "other"}
    assert "One.\n" in page.PAGE.read_text()


def test_an_unknown_benchmark_is_refused():
    with pytest.raises(ValueError, match="expected some of apply, fleet, portal, register, repo"):
        page.run(["nothing"])
