"""Compares two results.json: of the same seed, or of a run with a golden file.

    python -m experiments.compare_results --results=reproduced/results.json --golden=golden.json \
        --success=0.1 --calls=0.5

Ends with status 1 and a line for each difference. Without tolerances all must be equal to the last
digit but for what says how the run went: its machine, its seconds, its memory.
"""

import sys

from absl import app, flags, logging

from experiments.main_job import results
from experiments.main_job.golden import differences

_RESULTS = flags.DEFINE_string("results", None, "results.json of the run.", required=True)
_GOLDEN = flags.DEFINE_string("golden", None, "results.json to compare it with.", required=True)
_SUCCESS = flags.DEFINE_float("success", 0.0, "How much success may differ, 0 to 1.", 0.0, 1.0)
_CALLS = flags.DEFINE_float("calls", 0.0, "How much calls a task may differ.", 0.0)


def main(argv: list[str]) -> None:
    if len(argv) > 1:
        sys.exit(f"compare_results: unexpected argument {argv[1]!r}.")
    logging.set_verbosity(logging.WARNING)
    try:
        found, golden = results.load(_RESULTS.value), results.load(_GOLDEN.value)
    except (ValueError, OSError) as error:
        sys.exit(f"compare_results: {error}")
    words = differences(found, golden, success=_SUCCESS.value, calls=_CALLS.value)
    if words:
        sys.exit("\n".join(words))
    print(f"{len(found['conditions'])} conditions, no difference.")


if __name__ == "__main__":
    app.run(main)
