"""Phase 1: episodes with help triggered at random, into a folder of rollouts.

    python -m experiments.collect --types=s_obj --tasks=100 --actor=greedy --intervention=reasoner \
        --close=nohelp --out=rollouts/s_obj

Every task is played at every probability of help (`adapters.phase1`); then, on demand, `--more`
samples where little was tried and `--close=nohelp` lets the base actor play on from every state in
which it never did (`adapters.gaps`). `--actor` and `--intervention` take the names that
`experiments.players` explains.

The same command goes on where it was stopped, by a signal, a limit or a crash. It prints what is
still to be played, and about what that will cost, before the first call. Limits on calls and money
are for one run. `--known` names folders with replies of the same models, which they are then not
asked for again (`experiments.known_replies`).
"""

import math
import pathlib
import sys
from collections import Counter
from collections.abc import Iterator, Sequence

from absl import app, flags, logging

from adapters import phase1
from adapters.episodes import Episode, Played, play
from adapters.gaps import MORE, Gaps, is_start
from adapters.protocols import Actor, Intervention, World
from adapters.rollouts import RolloutWriter, read_steps
from adapters.spending import SpendingLimit
from adapters.step import Step
from experiments import known_replies, spending_flags
from experiments.players import Players, Servers, make_world
from experiments.progress import Progress

_OUT = flags.DEFINE_string("out", None, "Folder of the rollouts.", required=True)
_WORLD = flags.DEFINE_string("world", "sif", "sif or MODULE:FUNCTION.")
_SPLIT = flags.DEFINE_string("split", "train", "Split whose tasks are played.")
_TYPES = flags.DEFINE_list("types", ["s_obj"], "Of the tasks, in SIF: pnp, s_obj, s_hum.")
_TASKS = flags.DEFINE_integer("tasks", None, "The first N tasks of each type only.")
_SKIP = flags.DEFINE_integer("skip", 0, "Tasks of each type passed over first.", lower_bound=0)
_ACTOR = flags.DEFINE_string("actor", None, "Base actor; see experiments.players.", required=True)
_INTERVENTION = flags.DEFINE_list(
    "intervention", None, "Helps 1, 2, ...; see experiments.players.", required=True
)
_SCORER = flags.DEFINE_string("scorer", None, "Q for search: prm:FOLDER or MODULE:FUNCTION.")
_PROPOSER = flags.DEFINE_string("proposer", None, "Actor at temperature 1 that search is around.")

_REPETITIONS = flags.DEFINE_integer("repetitions", phase1.REPETITIONS, "Episodes of each kind.")
_PROBABILITIES = flags.DEFINE_list(
    "probabilities", [str(p) for p in phase1.PROBABILITIES], "Of each help alone."
)
_PAIRS = flags.DEFINE_list(
    "pairs", [f"{p}/{q}" for p, q in phase1.PAIRS], "Of every two helps together; may be empty."
)
_SEED = flags.DEFINE_integer("seed", 0, "All chance comes from it.")
_CLOSE = flags.DEFINE_enum("close", None, ["nohelp"], "Play the base actor on wherever it has not.")
_MORE = flags.DEFINE_integer("more", 0, "Further episodes that begin where little was tried.")
_THIN = flags.DEFINE_integer("thin", 1, "Little is fewer times than this.")
_KNOWN = flags.DEFINE_list(
    "known", [], "Folders of rollouts or evaluations; models need not give again what they gave."
)

_BATCH = flags.DEFINE_integer("batch", None, "Episodes at once. [64; 1 where a person helps]")
_STYLE = flags.DEFINE_string("style", None, "Of the texts in the rollouts; none for no texts.")
_MAX_TURNS = flags.DEFINE_integer("max_turns", None, "Of an episode. [the world's own limit]")
_GIVE_UP = flags.DEFINE_integer("give_up_after", 20, "Stop when so many episodes fail in a row.")
_EXPECTED_TURNS = flags.DEFINE_float("expected_turns", 10.0, "Of an episode, for the estimate.")

_BASE_URL = flags.DEFINE_string("base_url", None, "Of models' server. [OpenAI's]")
_API_KEY_ENV = flags.DEFINE_string(
    "api_key_env", "OPENAI_API_KEY", "Environment variable of the key; none where none is needed."
)
_READS = flags.DEFINE_string("reads", "full", "Style of the texts that models are given.")
_MAX_TOKENS = flags.DEFINE_integer("max_tokens", 300, "Of a model's reply.")
_CONCURRENCY = flags.DEFINE_integer("concurrency", 16, "Calls of a model at once.")
_CACHE = flags.DEFINE_string("cache", None, "File of models' replies. [OUT/replies.sqlite]")
spending_flags.define_flags()

_BYTES_PER_TOKEN = 4  # of English text, roughly


class _Stop(Exception):
    """Nothing more is to be played now; says why."""


def main(argv: list[str]) -> None:
    if len(argv) > 1:
        sys.exit(f"collect: unexpected argument {argv[1]!r}.")
    logging.set_verbosity(logging.WARNING)
    try:
        _collect()
    except (_Stop, SpendingLimit) as error:
        sys.exit(f"collect: {error}. The same command goes on.")
    except KeyboardInterrupt:
        sys.exit("collect: interrupted. The same command goes on.")
    except (ValueError, OSError, ImportError) as error:
        sys.exit(f"collect: {error}")


def _collect() -> None:
    out = pathlib.Path(_OUT.value)
    settings = phase1.settings(len(_INTERVENTION.value), *_probabilities())
    world = _world()
    tasks = _tasks(world)
    with Players(world, _servers(out)) as players:
        players.check(_ACTOR.value, _INTERVENTION.value)
        actor = players.actor(_ACTOR.value)
        helps = [
            players.intervention(
                name, actor, _ACTOR.value, proposer=_PROPOSER.value, scorer=_SCORER.value
            )
            for name in _INTERVENTION.value
        ]
        described = [players.config[name] for name in _players()]
        known_replies.recall_all(actor, helps, described, _KNOWN.value)
        how = dict(repetitions=_REPETITIONS.value, seed=_SEED.value)
        plan = list(phase1.episodes(tasks, settings, actor, helps, **how))
        style = _style()
        config = {
            "world": dict(players.world.config),
            "actor": players.config[_ACTOR.value],
            "interventions": [players.config[name] for name in _INTERVENTION.value],
            "seed": _SEED.value,
            "style": style,
            "max_turns": _MAX_TURNS.value,
        }
        with RolloutWriter(out, config) as writer:
            collection = _Collection(players, actor, helps, writer, style)
            collection.play("phase 1", plan)
            if _MORE.value:
                gaps = Gaps(_steps(out, ()), len(helps))
                more = gaps.more(_MORE.value, settings, thin=_THIN.value, seed=_SEED.value)
                collection.play("more", more)
            if _CLOSE.value:
                gaps = Gaps(_steps(out, (MORE,)), len(helps))
                collection.play("close", gaps.close(seed=_SEED.value))
            print(f"{out} is complete: {len(writer.finished):,} episodes.")


class _Collection:
    """Plays episodes into a folder, those that are not there yet."""

    def __init__(
        self,
        players: Players,
        actor: Actor,
        helps: Sequence[Intervention],
        writer: RolloutWriter,
        style: str | None,
    ):
        self._players, self._actor, self._helps = players, actor, helps
        self._writer, self._style = writer, style
        self._names = _players()
        self._batch = 1 if "person" in self._names else 64
        if _BATCH.value is not None:
            self._batch = _BATCH.value
        self._turns: Counter[int] = Counter()  # of this run, by decision
        self._failed = 0

    def play(self, label: str, plan: Sequence[Episode]) -> None:
        """Plays what is missing of `plan`.

        Raises:
          _Stop: somebody stopped, or episodes failed.
          SpendingLimit, OSError, ValueError: as `play` and the writer.
        """
        missing = [episode for episode in plan if episode.name not in self._writer.finished]
        print(
            f"{label}: {len(plan):,} episodes, {len(plan) - len(missing):,} of them there already."
        )
        if not missing:
            return
        self._announce(missing)
        progress, in_a_row, failed = Progress(label, len(missing)), 0, self._failed
        try:
            for played in play(
                self._players.world,
                self._actor,
                self._helps,
                missing,
                batch=self._batch,
                style=self._style,
                max_turns=_MAX_TURNS.value,
            ):
                in_a_row = 0 if self._keep(played) else in_a_row + 1
                progress.add(self._account)
                if played.stopped:
                    raise _Stop(played.error)
                if in_a_row >= _GIVE_UP.value:
                    raise _Stop(f"{in_a_row} episodes failed in a row: {played.error}")
        finally:
            progress.end(self._account())
        if self._failed > failed:
            raise _Stop(f"{self._failed - failed:,} episodes failed, the last one: {self._error}")

    def _keep(self, played: Played) -> bool:
        """Writes an episode down; returns whether it is complete."""
        self._turns.update(step.decision for step in played.steps)
        if played.error is None:
            self._writer.write(played.steps)
            return True
        name, task = played.episode.name, played.episode.task
        self._writer.note_error(task, name, played.error, played.steps)
        self._failed, self._error = self._failed + 1, played.error
        return False

    def _announce(self, missing: Sequence[Episode]) -> None:
        """Prints about what the episodes will cost."""
        turns = _EXPECTED_TURNS.value
        helped = [turns * sum(p) for p in zip(*(e.probabilities for e in missing), strict=True)]
        numbers = [turns * len(missing) - sum(helped), *helped]
        print(f"At {turns:g} turns each, which --expected_turns says, the others take about")
        for name, number in zip(self._names, numbers, strict=True):
            model = self._players.models.get(name)
            cost = ""
            if model is not None:
                calls, tokens = math.ceil(number * model.calls), self._tokens(missing[:20])
                cost = f": {model.actor.spending.estimate(calls, tokens, _MAX_TOKENS.value)}"
            print(f"  {number:,.0f} turns of {name}{cost}")
        if self._players.models:
            print(f"  {self._players.spending.limits()}", flush=True)

    def _tokens(self, some: Sequence[Episode]) -> float:
        """About how many a model reads in a turn, judging by the first states of some episodes."""
        texts = [self._players.world.reset(one.task).text(_READS.value) for one in some]
        return sum(len(text.encode()) for text in texts) / len(texts) / _BYTES_PER_TOKEN

    def _account(self) -> str:
        """What this run has played and spent so far."""
        parts = [f"{self._turns[i]:,} turns of {name}" for i, name in enumerate(self._names)]
        if self._failed:
            parts.append(f"{self._failed:,} episodes failed")
        if self._players.models:
            parts.append(self._players.spending.limits())
        return ", ".join(parts)


def _steps(out: pathlib.Path, kinds: tuple[str, ...]) -> Iterator[Step]:
    """The steps of phase 1 and of further kinds of episodes."""
    for step in read_steps(out):
        if is_start(step.episode) or step.episode.startswith(kinds):
            yield step


def _world() -> World:
    reads_past = _READS.value == "full" and any(map(_is_model, _players()))
    tasks = None if _TASKS.value is None else _SKIP.value + _TASKS.value
    return make_world(_WORLD.value, history_in_key=reads_past, tasks=tasks)


def _players() -> list[str]:
    return [_ACTOR.value, *_INTERVENTION.value]


def _is_model(name: str) -> bool:
    return name.startswith("openai:")


def _servers(out: pathlib.Path) -> Servers:
    return Servers(
        base_url=_BASE_URL.value,
        api_key_env=None if _API_KEY_ENV.value == "none" else _API_KEY_ENV.value,
        max_tokens=_MAX_TOKENS.value,
        style=_READS.value,
        concurrency=_CONCURRENCY.value,
        cache=_CACHE.value or str(out / "replies.sqlite"),
        **spending_flags.from_flags(),
    )


def _tasks(world: World) -> list[str]:
    """The tasks to be played."""
    kinds = _TYPES.value if _WORLD.value == "sif" else [None]
    found: list[str] = []
    for kind in kinds:
        tasks = world.tasks(f"{kind}/{_SPLIT.value}" if kind else _SPLIT.value)
        if _SKIP.value >= len(tasks):
            raise ValueError(f"--skip is {_SKIP.value}, expected 0 to {len(tasks) - 1}")
        tasks = tasks[_SKIP.value :]
        if _TASKS.value is not None and not 1 <= _TASKS.value <= len(tasks):
            raise ValueError(f"--tasks is {_TASKS.value}, expected 1 to {len(tasks)}")
        found += tasks[: _TASKS.value]
    return found


def _style() -> str | None:
    """Of the texts in the rollouts: as the base actor reads them, if it reads."""
    if _STYLE.value is None:
        return _READS.value if _is_model(_ACTOR.value) or _WORLD.value != "sif" else "compact"
    return None if _STYLE.value == "none" else _STYLE.value


def _probabilities() -> tuple[list[float], list[tuple[float, ...]]]:
    """Of each help alone, and of pairs."""
    alone = [_number("probabilities", text) for text in _PROBABILITIES.value]
    pairs = []
    for text in _PAIRS.value:
        pair = tuple(_number("pairs", part) for part in text.split("/"))
        if len(pair) != 2:
            raise ValueError(f"--pairs: {text!r}, expected P/Q")
        pairs.append(pair)
    return alone, pairs


def _number(flag: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"--{flag}: {text!r} is no number") from None


if __name__ == "__main__":
    app.run(main)
