"""Which conditions are compared, as a file for `experiments.evaluate`.

    python -m experiments.make_conditions --plan=PLAN --prm=PRM --helpers=gains=HELPER \
        --out=conditions.json

Costs are those of the plan, which is made before; so this is a stage of its own. --split=test is
for test tasks: the paper's Tables 2, 3 and 5, baselines at equal usage, variants of the helper.
--split=train is for training tasks, with the dials that validation tasks have set (--matches), and
with the tasks whose best path meets decisions never tried, in --parts (Table 4).
"""

import json
import pathlib
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
from absl import app, flags

from adapters.labels import Labels
from adapters.made import check_made
from experiments.bench.runner import replace_text
from experiments.main_job.suite import MAIN, VARIANTS, for_test, for_train

_OUT = flags.DEFINE_string("out", None, "File of the conditions.")
_SPLIT = flags.DEFINE_enum("split", "test", ["test", "train"], "Of the tasks.")
_PLAN = flags.DEFINE_string("plan", None, "Folder that plan wrote.")
_PRM = flags.DEFINE_string("prm", None, "Folder of a process reward model.")
_PRM_REPLY = flags.DEFINE_string("prm_reply", None, "Folder of one that reads replies too.")
_HELPERS = flags.DEFINE_list("helpers", [], "VARIANT=FOLDER, ...")
_CURVE = flags.DEFINE_bool("curve", False, "More points of each curve.")
_ALL = flags.DEFINE_bool("all_settings", False, "Variants at each setting, not at r mid alone.")
_WHOLE = flags.DEFINE_bool("whole_tasks", False, "Help for whole tasks, too.")
_MATCHES = flags.DEFINE_string("matches", None, "For train: matches.json of the test tasks.")
_TASKS = flags.DEFINE_integer("tasks", None, "For train: tasks that are played.")
_TYPE = flags.DEFINE_string("type", "s_obj", "For train: of the tasks.")
_PARTS_PLAN = flags.DEFINE_string(
    "parts_plan", None, "For train: plan whose best path tells the tasks' parts. [--plan]"
)
_PARTS = flags.DEFINE_string("parts", None, "For train: file of the tasks' parts.")


def main(argv: list[str]) -> None:
    if len(argv) > 1:
        sys.exit(f"make_conditions: unexpected argument {argv[1]!r}.")
    if _OUT.value is None or _PLAN.value is None:
        sys.exit("make_conditions: --out or --plan is missing, expected both.")
    try:
        plan = _plan(_PLAN.value)
        helpers = dict(_pair(text) for text in _HELPERS.value)
        if _SPLIT.value == "test":
            found = for_test(
                plan,
                _PRM.value,
                helpers,
                prm_reply=_PRM_REPLY.value,
                curve=_CURVE.value,
                all_settings=_ALL.value,
                whole_tasks=_WHOLE.value,
            )
        else:
            matches = json.loads(pathlib.Path(_MATCHES.value).read_text())
            found = for_train(plan, helpers, matches, _PRM_REPLY.value)
            tasks = [f"{_TYPE.value}/train/{i}" for i in range(_TASKS.value)]
            _write(_PARTS.value, _parts(_PARTS_PLAN.value or _PLAN.value, tasks))
        _write(_OUT.value, found)
    except (ValueError, OSError, TypeError, KeyError) as error:
        sys.exit(f"make_conditions: {error}")
    print(f"{len(found)} conditions.")


def _plan(folder: str) -> dict[str, Any]:
    path = pathlib.Path(folder, "plan.json")
    check_made(path, "a plan, which experiments.plan makes")
    return json.loads(path.read_text())


def _parts(folder: str, tasks: Sequence[str]) -> dict[str, list[str]]:
    """Tasks by whether a plan's best path at the middle budget comes to a decision never tried."""
    plan = _plan(folder)
    labels = Labels.load(pathlib.Path(folder, "labels.npz"))
    middle = plan["plans"][min(1, len(plan["plans"]) - 1)]["cost"]
    column = labels.cost_index(middle)
    taken = labels.policy[:, column]
    tried = labels.visits[np.arange(len(taken)), taken] > 0
    met = labels.task[(labels.reach[:, column] > 0) & ~tried]
    unseen = {labels.tasks[i] for i in met.tolist()}
    parts = {
        "seen": [task for task in tasks if task not in unseen],
        "unseen": [task for task in tasks if task in unseen],
    }
    return {name: group for name, group in parts.items() if group}


def _pair(text: str) -> tuple[str, str]:
    variant, equals, folder = text.partition("=")
    if not equals or variant.partition("@")[0] not in (MAIN, *VARIANTS):
        raise ValueError(f"--helpers: {text!r}, expected VARIANT=FOLDER, of {MAIN}, {[*VARIANTS]}")
    return variant, folder


def _write(path: str, found: Any) -> None:
    to = pathlib.Path(path)
    to.parent.mkdir(parents=True, exist_ok=True)
    replace_text(to, json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    app.run(main)
