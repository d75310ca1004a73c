"""The README's examples print what it says they print."""

import doctest
from pathlib import Path


def test_the_examples_of_the_readme():
    readme = Path(__file__).resolve().parents[1] / "README.md"
    failed, tried = doctest.testfile(str(readme), module_relative=False)
    assert tried > 5
    assert failed == 0
