"""What a folder of rollouts holds.

    python -m experiments.inspect_rollouts --rollouts=DIR

prints episodes, success, length and calls of help for each setting of the help probabilities; bad
actions, replies cut off, errors; tokens, time and money; in how many states each action was tried
how often; what is wrong with the files. A collector may be writing there meanwhile.
"""

import collections
import dataclasses
import json
import sys
import time

from absl import app, flags
from scipy import stats

from adapters import rollouts
from adapters.gaps import is_start
from adapters.protocols import OUTCOMES
from adapters.rollouts.counts import EpisodeCounter, RolloutCounts
from adapters.step import Step
from core.coverage import BUCKETS

_ROLLOUTS = flags.DEFINE_string("rollouts", None, "Folder that RolloutWriter wrote.", required=True)
_STRICT = flags.DEFINE_bool("strict", True, "Stop at a bad line; else pass over it and name it.")

_TOTALS = ("seconds", "input_tokens", "output_tokens", "retries", "cost", "cached")
_PROGRESS_SECONDS = 5.0
_REASONS = 10  # printed, of those why episodes failed


@dataclasses.dataclass
class _Group:
    """Sums over episodes of one kind with the same help probabilities."""

    episodes: int = 0
    successes: int = 0
    turns: int = 0
    calls: collections.Counter[int] = dataclasses.field(default_factory=collections.Counter)


class _Summary:
    """Sums over all episodes."""

    def __init__(self):
        # By kind, "" for those that begin where their task does, and by help probabilities.
        self.groups: dict[tuple[str, tuple[float, ...]], _Group] = collections.defaultdict(_Group)
        self.outcomes: collections.Counter[str] = collections.Counter()
        self.turns: collections.Counter[str] = collections.Counter()  # by what went wrong
        self.totals: collections.Counter[str] = collections.Counter()
        self.measures: dict[str, list[float]] = collections.defaultdict(lambda: [0, 0.0])
        self.names: set[str] = set()

    def add(self, episode: list[Step]) -> None:
        last = episode[-1]
        kind = "" if is_start(last.episode) else last.episode.split("/")[0]
        group = self.groups[kind, last.probabilities]
        group.episodes += 1
        group.successes += last.outcome == "success"
        group.turns += len(episode)
        group.calls.update(step.decision for step in episode if step.decision)
        self.names.add(last.episode)
        self.outcomes[last.outcome] += 1
        if not kind:
            for name, value in last.measures.items():
                self.measures[name][0] += 1
                self.measures[name][1] += value
        for step in episode:
            self.turns["invalid actions"] += step.invalid
            self.turns["replies cut off"] += step.truncated
            self.turns["no reply (error)"] += step.error is not None
            for name in _TOTALS:
                self.totals[name] += getattr(step, name)


def main(argv: list[str]) -> None:
    if len(argv) > 1:
        sys.exit(f"inspect_rollouts: unexpected argument {argv[1]!r}.")
    problems = rollouts.Problems()
    try:
        config = rollouts.read_config(_ROLLOUTS.value)
        summary, counts = _read(problems)
        errors = list(
            rollouts.read_errors(_ROLLOUTS.value, strict=_STRICT.value, problems=problems)
        )
    except (ValueError, OSError) as error:
        sys.exit(f"inspect_rollouts: {error}")
    print(f"made from {json.dumps(config, sort_keys=True)}")
    if counts is None:
        print("no complete episode")
    else:
        _print_episodes(summary, counts)
        _print_turns(summary)
        _print_coverage(counts)
    _print_errors(errors, summary.names)
    print(f"files\n{problems}" if problems.number else "files: nothing wrong")


def _read(problems: rollouts.Problems) -> tuple[_Summary, RolloutCounts | None]:
    summary, counter = _Summary(), EpisodeCounter()
    steps, told = 0, time.monotonic()
    for episode in rollouts.read_episodes(_ROLLOUTS.value, strict=_STRICT.value, problems=problems):
        summary.add(episode)
        counter.add(episode)
        steps += len(episode)
        if time.monotonic() - told > _PROGRESS_SECONDS:
            print(f"{steps:,} steps read", file=sys.stderr)
            told = time.monotonic()
    return summary, counter.result() if steps else None


def _print_episodes(summary: _Summary, counts: RolloutCounts) -> None:
    print(
        f"{summary.outcomes.total():,} episodes of {len(counts.tasks):,} tasks, "
        f"{counts.counts.num_steps:,} turns, {len(counts.index):,} states"
    )
    print(", ".join(f"{name} {summary.outcomes[name]:,}" for name in OUTCOMES))
    helps = range(1, counts.counts.num_actions)
    columns = "".join(f"{f'help {help}':>9}" for help in helps)
    print("by help probabilities; turns and calls are means of an episode")
    print(f"{'':16}{'episodes':>9}{'success':>9}{'95% interval':>16}{'turns':>8}{columns}")
    for (kind, probabilities), group in sorted(summary.groups.items()):
        # Wilson's, as if episodes were independent, which those of one task are not.
        interval = stats.binomtest(group.successes, group.episodes).proportion_ci(method="wilson")
        low_high = f"{interval.low:.1%} - {interval.high:.1%}"
        calls = "".join(f"{group.calls[help] / group.episodes:9.3f}" for help in helps)
        name = f"{kind} {'/'.join(f'{p:g}' for p in probabilities)}".strip() or "no helps"
        print(
            f"{name:16}{group.episodes:9,}{group.successes / group.episodes:9.1%}"
            f"{low_high:>16}{group.turns / group.episodes:8.2f}{calls}"
        )
    for name, (number, value) in sorted(summary.measures.items()):
        print(f"{name} at the end: {value / number:.2f}, mean of {number:,} episodes")


def _print_turns(summary: _Summary) -> None:
    turns = sum(group.turns for group in summary.groups.values())
    print(", ".join(f"{name} {n:,} ({n / turns:.2%})" for name, n in summary.turns.items()))
    totals = summary.totals
    print(
        f"tokens {totals['input_tokens']:,} in, {totals['output_tokens']:,} out; "
        f"cost {totals['cost']:.4f}; {totals['seconds']:,.1f} s of calls; "
        f"{totals['retries']:,} retries; {totals['cached']:,} from a cache"
    )


def _print_coverage(counts: RolloutCounts) -> None:
    if not counts.start.size:
        print("coverage: no episode begins where its task does")
        return
    coverage = counts.table().coverage(top=0)
    head = "".join(f"{bucket:>8}" for bucket in BUCKETS)
    print(f"coverage, by how often an action was tried\n{'':10}{'states':>32}   {'visits':>32}")
    print(f"{'times':10}{head}   {head}")
    for action, shares in enumerate(zip(coverage.state_share, coverage.visit_share, strict=True)):
        of_states, of_visits = ("".join(f"{x:8.1%}" for x in row) for row in shares)
        print(f"{f'help {action}' if action else 'nohelp':10}{of_states}   {of_visits}")


def _print_errors(errors: list[rollouts.EpisodeError], finished: set[str]) -> None:
    missing = {error.episode for error in errors} - finished
    cost = sum(error.cost for error in errors)
    print(f"failed {len(errors):,} times, cost {cost:.4f}; {len(missing):,} episodes still missing")
    reasons = collections.Counter(error.error for error in errors)
    for reason, number in reasons.most_common(_REASONS):
        print(f"  {number:6,}  {reason}")


if __name__ == "__main__":
    app.run(main)
