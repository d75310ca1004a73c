"""The page that a run of the main job ends in, on results that are made up."""

import copy
import html.parser
import json
import re
import subprocess
import sys
from collections import Counter

import pytest

from experiments.main_job import drawing, figures, report_page, results
from experiments.main_job.findings import findings, sentence
from tests.experiments import synthetic_results

VOID = {"meta", "link", "br", "path", "use", "rect", "line", "circle"}


class Page(html.parser.HTMLParser):
    """What is in a page; fails where elements are not closed in order."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.open, self.words, self.ids = [], [], [], Counter()
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.elements.append((tag, attributes))
        self.ids.update([attributes["id"]] if "id" in attributes else [])
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())


@pytest.fixture
def found():
    return synthetic_results.results()


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The folder of a report, as a user makes it."""
    out = tmp_path_factory.mktemp("report")
    (out / "results.json").write_text(json.dumps(synthetic_results.results()))
    command = [sys.executable, "-m", "experiments.report", f"--results={out / 'results.json'}"]
    subprocess.run(command, check=True, capture_output=True)
    return out


@pytest.fixture(scope="module")
def page(written):
    return Page((written / "report.html").read_text())


def test_the_page_is_one_file_that_loads_and_runs_nothing(written, page):
    text = (written / "report.html").read_text()
    assert not page.all("script")
    assert not page.all("img")
    assert [link["href"] for link in page.all("link")] == ["data:,"]
    leading_out = re.findall(r'<(\w+)[^>]*(?:src|href)="(?!#|data:)', text)
    assert set(leading_out) <= {"a"}
    assert "url(" not in re.sub(r"url\(#", "", text)
    assert "@import" not in text


def test_every_id_is_there_once_and_every_reference_has_its_target(page):
    assert max(page.ids.values()) == 1
    for _, attributes in page.elements:
        for value in attributes.values():
            for name in re.findall(r"^#(.+)|url\(#([^)]+)\)", value or ""):
                assert "".join(name) in page.ids


def test_tables_can_be_heard(page):
    tables = len(page.all("table"))
    assert tables > 10
    assert len(page.all("caption")) == tables
    scopes = {"row", "col", "rowgroup", "colgroup"}
    assert all(cell.get("scope") in scopes for cell in page.all("th"))


def test_the_page_says_what_it_is(page):
    assert report_page.SIMULATOR in page.text
    assert "in hindsight" in page.text
    assert dict(lang="en") in page.all("html")
    assert any(meta.get("name") == "viewport" for meta in page.all("meta"))


def test_every_table_and_figure_of_the_paper_is_there(page):
    for name in ("Table 1.", "Table 2.", "Table 3.", "Table 4.", "Table 5."):
        assert name in page.text
    for name in ("Figure 3.", "Figure 5.", "Figure 6."):
        assert name in page.text


def test_the_picture_comes_before_the_first_table(written):
    text = (written / "report.html").read_text()
    if drawing.installed():
        assert text.index("<svg") < text.index("<table")
    assert text.index("Table 2.") < text.index("How each was measured") < text.index("Table 3.")


def test_numbers_stand_with_their_intervals(page):
    row = "helper r mid 59.1% 52–66 50.3 11.5 1.05 0.95–1.16 1.00"
    assert row in page.text
    assert "1.05 0.95–1.16 / 0.53 0.47–0.58 1.00 / 0.50" in page.text  # two helps


def test_pictures_take_the_colours_of_the_page(page):
    pytest.importorskip("matplotlib")
    shown = page.all("svg")
    assert len(shown) > 5
    assert all(svg["role"] == "img" and "simulated" in svg["aria-label"] for svg in shown)
    styles = " ".join(attributes.get("style", "") for _, attributes in page.elements)
    assert "var(--c0)" in styles
    assert "#0103" not in styles


def test_the_pictures_are_written_too(written):
    pytest.importorskip("matplotlib")
    for name in ("frontier", "causes_s_obj", "toggling", "coverage_s_obj_both"):
        assert (written / f"{name}.png").read_bytes().startswith(b"\x89PNG")


def test_the_same_results_give_the_same_picture(written, found):
    pytest.importorskip("matplotlib")
    picture = drawing.svg(figures.curve(found, "s_obj", "stronger"), "curve-s_obj", "a picture")
    body = picture.split(">", 1)[1]
    assert body in (written / "report.html").read_text()


@pytest.fixture
def no_matplotlib(monkeypatch):
    monkeypatch.setattr(drawing, "installed", lambda: False)


@pytest.mark.usefixtures("no_matplotlib")
def test_without_matplotlib_there_are_tables(tmp_path, found):
    assert [path.name for path in report_page.write(found, tmp_path)] == ["report.html"]
    page = Page((tmp_path / "report.html").read_text())
    assert "matplotlib is not installed" in page.text
    assert page.all("table")


@pytest.mark.usefixtures("no_matplotlib")
def test_a_run_that_found_little_has_a_page(found):
    for name in ("conditions", "comparisons", "self_regulation", "frontier", "coverage"):
        found[name] = []
    found["forecasts"] = found["examples"] = []
    page = Page(report_page.html(found))
    assert "not measured" in page.text


@pytest.mark.usefixtures("no_matplotlib")
def test_what_a_condition_is_called_says_how_it_decides(found):
    text = report_page.html(found)
    assert "helper r mid − PRM threshold, rising, replies read" in text
    assert "helper r mid, with the PRM" not in text
    for row in found["conditions"]:
        row["dial"] = {"values": [0.3], "share": 0.0, "either": row["method"] == "helper"}
    assert "helper r mid, with the PRM" in report_page.html(found)


@pytest.mark.usefixtures("no_matplotlib")
def test_it_is_said_what_was_learnt_from(found):
    found["config"] |= {
        "tasks": {"s_obj": {"stronger": 200, "search": 60}, "s_hum": {"stronger": 1500}},
        "alone": {"s_obj": 400},
        "test_tasks": {"s_obj": 300},
    }
    assert (
        "What was learnt from. S_obj: 200 tasks with help at random, and 400 that the base actor "
        "played alone, for the PRM; tested on 300. S_hum: 1,500 tasks with help at random."
    ) in report_page.html(found)


def test_words_are_escaped(found):
    found["config"]["notes"] = ["1 < 2 & <b>bold</b>"]
    assert "1 &lt; 2 &amp; &lt;b&gt;bold" in report_page.html(found)


def test_targets_are_judged_by_their_numbers(found):
    verdicts = [one.verdict for one in findings(found)]
    assert verdicts == ["missed", *["reached"] * 4, *["missed"] * 3]
    for row in found["conditions"]:
        if row["split"] == "test_unseen" and row["method"] == "helper":
            if row["setting"] == "r mid":
                row["usage"], row["success"] = [0.99], 0.66
            if row["setting"] == "r low":
                row["usage"] = [2.4]
        if row.get("part") == "unseen":
            row["success"] = 0.59
    found["comparisons"][0]["ci"] = [-0.01, 0.2]
    # The paper's rule counts, and not what the last two states say.
    at_the_end = dict(found["self_regulation"][1], states="last two", accuracy=0.95)
    found["self_regulation"].append(at_the_end)
    assert findings(found)[-1].verdict == "missed"
    assert findings(found)[-1].found.endswith("PnP 95.0% by the last two states")
    found["self_regulation"][1]["accuracy"] = 0.9
    reached = {one.target: one.verdict == "reached" for one in findings(found)}
    assert list(reached.values()) == [True, False, False, False, True, False, True, True]


def test_about_one_call_is_anywhere_on_the_helpers_curve(found):
    assert findings(found)[0].verdict == "missed"
    (mid,) = (
        row
        for row in found["conditions"]
        if (row["task_type"], row["intervention"]) == ("s_obj", "stronger")
        and (row["method"], row["setting"], row["split"]) == ("helper", "r mid", "test_unseen")
    )
    less = dict(mid, setting="0.75 calls", usage=[0.75], success=0.66, tables=[])
    found["conditions"].append(less)
    assert findings(found)[0].found.startswith("98%: helper 0.75 calls")
    less["series"] = "helper, labels copied"
    assert findings(found)[0].verdict == "missed"


def test_of_unseen_states_it_is_said_how_hard_their_tasks_are(found):
    one = findings(found)[6]
    assert one.found.startswith("r high ")
    assert one.found.endswith(", of these tasks help at every turn solves 25%")
    found["conditions"] = [row for row in found["conditions"] if row["split"] != "train"]
    assert findings(found)[6].verdict == "not measured"


def test_the_main_result_is_said_in_a_sentence(found):
    assert sentence(found, "s_obj") == (
        "S_obj: with 1.05 calls a task the helper succeeds in 59.1% (52–66) of 200 unseen tasks. "
        "Without help it is 30.0% (24–36), with help at every turn 67.5% (61–74) at 7.8 calls; "
        "asking at random as often, 41.1% (34–48) at 1.00."
    )


@pytest.mark.parametrize(
    "break_it, message",
    [
        (lambda found: found.pop("version"), "version is missing"),
        (lambda found: found.update(version=9), "version is 9, expected 1"),
        (lambda found: found.pop("frontier"), "frontier is missing"),
        (lambda found: found["conditions"][2].pop("usage"), r"conditions\[2\]\.usage is missing"),
        (
            lambda found: found["conditions"][0].update(success="high"),
            r"conditions\[0\]\.success is 'high', expected int or float",
        ),
    ],
)
def test_results_that_are_none_are_refused_by_name(found, tmp_path, break_it, message):
    results.check(copy.deepcopy(found))
    break_it(found)
    path = tmp_path / "results.json"
    path.write_text(json.dumps(found))
    with pytest.raises(ValueError, match=rf"results\.json: {message}"):
        results.load(path)


def test_a_missing_file_is_one_clear_line(tmp_path):
    command = [sys.executable, "-m", "experiments.report", f"--results={tmp_path}/none.json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "none.json" in done.stderr
