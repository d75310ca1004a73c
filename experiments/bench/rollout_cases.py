"""The cases of `bench_rollouts`; one of them: `python -m experiments.bench.rollout_cases JSON`.

The request is a JSON object: the name of the case, the fields of `Sizes`, the folder that the cases
of the store share, and the file of the answer.
"""

import functools
import json
import pathlib
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

from experiments.bench import rollout_work as work
from experiments.bench.rollout_work import Sizes


class Case(NamedTuple):
    """One row of the table.

    Attributes:
      group: of cases that belong together.
      name: says what is done, and is unique.
      measure: does it; returns `Meter.result`.
      promised: how many for a processor second at least; None for no promise.
      limited_by: name of the case whose rate is promised instead where that is lower.
    """

    group: str
    name: str
    measure: Callable[[Sizes, pathlib.Path], dict[str, Any]]
    promised: float | None = None
    limited_by: str | None = None


_PARSER = "lines parsed, untyped"

CASES = (
    Case("world", "steps, with keys", work.step_world, promised=50_000),
    Case("world", "tasks generated", work.generate_tasks, promised=200),
    *(
        Case(
            "episodes",
            f"{actor}, {help} at {work.HELP_PROBABILITY:g}" if help else actor,
            functools.partial(work.play_episodes, actor=actor, help=help),
        )
        for actor, help in (
            ("oracle", None),
            ("greedy", None),
            ("reasoner", None),
            ("greedy", "reasoner"),
        )
    ),
    Case("episodes", "LlamaActor, 0.5M parameters", work.play_local_model),
    *(
        Case(
            "calls",
            f"OpenAIActor, {concurrency} at once",
            functools.partial(work.call_actor, concurrency=concurrency),
        )
        for concurrency in (1, 16, 128)
    ),
    Case("calls", f"plain sockets, {work.PLAIN_CONNECTIONS} at once", work.call_plainly),
    Case("store", "steps written", work.write_store),  # what the others read
    Case("store", "steps read", work.read_store),
    Case("store", "steps counted", work.count_store, promised=200_000, limited_by=_PARSER),
    Case("store", _PARSER, work.parse_store),
)


def main() -> None:
    request = json.loads(sys.argv[1])
    [case] = [case for case in CASES if case.name == request["case"]]
    answer = case.measure(Sizes(**request["sizes"]), pathlib.Path(request["folder"]))
    pathlib.Path(request["answer"]).write_text(json.dumps(answer))


if __name__ == "__main__":
    main()
