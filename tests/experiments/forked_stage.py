"""A stage for `test_stages`: `python -m tests.experiments.forked_stage OUT NAME [SIGNAL|WORDS]`.

Writes down what it was when it began, and ends as it is told.
"""

import json
import os
import pathlib
import sys

BEFORE = sorted(sys.modules)

if __name__ == "__main__":
    out, name, *end = sys.argv[1:]
    found = {"pid": os.getpid(), "parent": os.getppid(), "flax": "flax.nnx" in BEFORE}
    pathlib.Path(out, name).write_text(json.dumps(found))
    if end and end[0].isdigit():
        os.kill(os.getpid(), int(end[0]))
    elif end and end[0] == "parent":
        os.kill(os.getppid(), 9)
    elif end:
        sys.exit(end[0])
