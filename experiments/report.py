"""results.json to a page that can be read: report.html, one file, and its pictures as PNG.

    python -m experiments.report --results=reproduced/results.json --out=reproduced

`experiments.reproduce` calls it in the end. Nothing is measured here. Pictures need matplotlib
(extra `plot`); without it the page has its tables alone.
"""

import pathlib
import sys

from absl import app, flags, logging

from experiments.main_job import results
from experiments.main_job.report_page import write

_RESULTS = flags.DEFINE_string("results", None, "results.json.")
_OUT = flags.DEFINE_string("out", None, "Folder of the report. [that of --results]")


def main(argv: list[str]) -> None:
    if len(argv) > 1:
        sys.exit(f"report: unexpected argument {argv[1]!r}.")
    logging.set_verbosity(logging.WARNING)
    if _RESULTS.value is None:
        sys.exit("report: --results is missing, expected a results.json.")
    path = pathlib.Path(_RESULTS.value)
    try:
        written = write(results.load(path), pathlib.Path(_OUT.value or path.parent))
    except (ValueError, OSError) as error:
        sys.exit(f"report: {error}")
    print("\n".join(map(str, written)))


if __name__ == "__main__":
    app.run(main)
