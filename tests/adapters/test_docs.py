"""What docs/own-environment.md shows is what happens."""

import doctest
import re
import runpy
import sys
from pathlib import Path

import pytest

PAGE = Path(__file__).resolve().parents[2] / "docs" / "own-environment.md"


@pytest.fixture
def key_hunt(tmp_path, monkeypatch):
    """The page's file, saved under the name that its first line tells."""
    name, source = re.search(r"```python\n# (\w+\.py)\n(.*?)```", PAGE.read_text(), re.S).groups()
    path = tmp_path / name
    path.write_text(source)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield path
    sys.modules.pop(path.stem, None)


def test_the_file_plays_the_episode_that_the_page_prints(key_hunt, capsys):
    runpy.run_path(str(key_hunt), run_name="__main__")
    [printed] = re.findall(r"```text\n(.*?)```", PAGE.read_text(), re.S)
    assert capsys.readouterr().out == printed
    assert "success" in printed


def test_the_examples_print_what_the_page_says(key_hunt):
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    failed, tried = doctest.testfile(str(PAGE), module_relative=False, optionflags=flags)
    assert tried > 10
    assert failed == 0
