"""The conditions that are compared: who decides, by which dial, and how helps are used.

A file of conditions is a JSON list of objects, each with a method and the name of its setting:

  {"method": "never", "setting": "0%"}
  {"method": "always", "setting": "100%"}                    "help": 2 for another than the first
  {"method": "random", "setting": "10%", "p": 0.1}           or [0.1, 0.05], of each help
  {"method": "prm", "setting": "low", "prm": "P", "threshold": 0.8}      asks where 1 - p(s) > 0.8;
                                                             "help": 2, or "any", drawn evenly
  {"method": "helper", "setting": "r mid", "folder": "H", "cost": 0.1, "threshold": 0.0}

Any of them may have

  "match"      in place of p or threshold: the calls an episode that are to be met on validation
               tasks, of all helps together; a number, or another condition as "helper r mid"
  "cap"        calls of each help an episode at most: 3 or [3, 1]
  "either"     of a helper: a process reward model that may judge with it (`adapters.either`); where
               calls are to be met, of the two ways the one that validation tasks succeed more with
  "rise"       of the threshold with each call that the episode has made (`adapters.rising`); for
               prm and helper, state by state, under a cap. Where calls are to be met there may be
               several, [0, 0.1]: of them the one that validation tasks succeed more with
  "task_wise"  for whole tasks. "now": help once asked for plays to the end; 5: likewise, from turn
               5 on, asked for in the turns before; "all": the task is played alone, and begun again
               with help where that is needed. At random, tasks are drawn with p, not turns. They
               are named "task_random low", "task_prm low", "task_prm_first low", "task_prm_now low"
  "against"    other conditions that it is compared with; for a helper all others, if not given
  "tables", "series", "note"   handed on as they are

A threshold may be two, with "share": that part of the episodes takes the second one. In place of a
folder there may be MODULE:FUNCTION, see `experiments.deciders`.
"""

import dataclasses
import json
import os
from collections.abc import Sequence
from typing import Any

from adapters import seeds as seeds_lib
from adapters.episodes import TaskWise
from adapters.helpers import Random

METHODS = ("never", "always", "random", "prm", "helper")
_TOLD = ("tables", "series", "note")
_FIELDS = {
    "never": (),
    "always": ("help",),
    "random": ("p", "match"),
    "prm": ("prm", "help", "threshold", "share", "match", "rise"),
    "helper": ("folder", "cost", "threshold", "share", "match", "rise", "either"),
}
_ANY = ("method", "setting", "cap", "task_wise", "against", *_TOLD)


@dataclasses.dataclass(frozen=True)
class Dial:
    """The value of p or of the threshold; or two of these, the second for a share of the episodes.

    Attributes:
      values: one or two.
      share: of the episodes that take the second one.
      either: the condition's process reward model judges too.
      rise: of the threshold with each call that was made.
    """

    values: tuple[float, ...]
    share: float = 0.0
    either: bool = False
    rise: float = 0.0

    @property
    def mixed(self) -> bool:
        """Whether it is left to chance which value an episode takes."""
        return len(self.values) == 2 and 0 < self.share < 1

    def at(self, value: float) -> "Dial":
        """The same at one value."""
        return dataclasses.replace(self, values=(value,), share=0.0)

    def of_episode(self, seed: int) -> float:
        """The value for an episode of this seed."""
        if len(self.values) == 1:
            return self.values[0]
        drawn = seeds_lib.uniform(seeds_lib.derive("dial", seed))
        return self.values[int(drawn < self.share)]


@dataclasses.dataclass(frozen=True)
class Condition:
    """One way of deciding who plays.

    Attributes:
      method, setting: how it decides, and the name of its dial's place.
      dial: p or the threshold; None where there is none, where it is to be matched, or for a
        helper's own threshold.
      match: the calls that are to be met, or the name of another condition.
      source: folder of the process reward model or helper, or MODULE:FUNCTION.
      cost: [K] or a number, for the helper.
      either: folder of a process reward model, or MODULE:FUNCTION, that may judge with the helper.
      help: which help `always` and `prm` ask; None for one drawn evenly.
      weights: [K] of the helps in random calls; sum to one.
      cap: [K] calls at most.
      rises: of the threshold with each call that was made, one or those to choose from.
      task_wise: None, how help goes on, or "all" for a new beginning.
      against: names of conditions to compare with; None if not given.
      told: fields that are handed on.
    """

    method: str
    setting: str
    dial: Dial | None = None
    match: float | str | None = None
    source: str | None = None
    cost: Any = None
    either: str | None = None
    help: int | None = 1
    weights: tuple[float, ...] = (1.0,)
    cap: tuple[int, ...] | None = None
    rises: tuple[float, ...] = (0.0,)
    task_wise: TaskWise | str | None = None
    against: tuple[str, ...] | None = None
    told: dict[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def kind(self) -> str:
        """The method, and how it is used: "prm", "task_prm", "task_prm_first", "task_prm_now"."""
        if self.task_wise is None:
            return self.method
        if self.restarts or self.method in ("random", "always", "never"):
            return f"task_{self.method}"
        return f"task_{self.method}_{'now' if self.task_wise.ask_turns is None else 'first'}"

    @property
    def name(self) -> str:
        """Kind and setting."""
        return f"{self.kind} {self.setting}"

    def shares(self, p: float) -> tuple[float, ...]:
        """[K] the probability of each help, where that of any is p."""
        return tuple(p * weight for weight in self.weights)

    @property
    def restarts(self) -> bool:
        """Whether tasks are played alone first."""
        return self.task_wise == "all"


def read(path: str | os.PathLike, num_helps: int) -> list[Condition]:
    """The conditions of a file.

    Raises:
      OSError: it cannot be read.
      ValueError: naming the condition and the field that is wrong.
    """
    try:
        with open(path, encoding="utf-8") as file:
            given = json.load(file)
        return parse(given, num_helps)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def parse(given: Any, num_helps: int) -> list[Condition]:
    """Conditions from what JSON holds; for the errors see `read`."""
    if not isinstance(given, list) or not given:
        raise ValueError("expected a list of conditions")
    found: list[Condition] = []
    for i, one in enumerate(given):
        where = f"condition {i + 1}"
        if not isinstance(one, dict):
            raise ValueError(f"{where} is {one!r}, expected an object")
        try:
            found.append(_condition(one, num_helps))
        except (TypeError, ValueError) as error:
            raise ValueError(f"{where} ({one.get('setting')!r}): {error}") from error
    names = [one.name for one in found]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"{name!r} is there twice, expected each method and setting once")
    for one in found:
        for other in (one.match, *(one.against or ())):
            if isinstance(other, str) and (other not in names or other == one.name):
                raise ValueError(
                    f"{one.name!r} names {other!r}, expected another of the conditions"
                )
    return found


def _condition(given: dict[str, Any], num_helps: int) -> Condition:
    method, setting = given.get("method"), given.get("setting")
    if method not in METHODS:
        raise ValueError(f"method is {method!r}, expected one of {', '.join(METHODS)}")
    if not isinstance(setting, str):
        raise ValueError(f"setting is {setting!r}, expected a name")
    known = (*_ANY, *_FIELDS[method])
    strange = next((name for name in given if name not in known), None)
    if strange is not None:
        raise ValueError(f"{strange!r} is no field of {method}, expected of {', '.join(known)}")
    match = given.get("match")
    if match is not None and not isinstance(match, str):
        match = _number("match", match, 0, float("inf"))
    source = given.get({"prm": "prm", "helper": "folder"}.get(method, ""))
    if method in ("prm", "helper") and not isinstance(source, str):
        raise ValueError(f"{_FIELDS[method][0]} is {source!r}, expected a folder")
    rises = tuple(_number("rise", one, 0, float("inf")) for one in _listed(given.get("rise", 0.0)))
    if any(rises) and (given.get("cap") is None or given.get("task_wise") is not None):
        raise ValueError(f"rise is {given['rise']}, expected it with a cap, and without task_wise")
    if len(rises) != 1 and (match is None or not rises):
        raise ValueError(f"rise is {given['rise']}, expected one, or several to match with")
    dial, weights = _dial(given, method, match, rises[0], num_helps)
    either = given.get("either")
    if either is not None and not isinstance(either, str):
        raise ValueError(f"either is {either!r}, expected a folder")
    return Condition(
        method=method,
        setting=setting,
        dial=dial,
        match=match,
        source=source,
        cost=given.get("cost"),
        either=either,
        help=_help(given, num_helps),
        weights=weights,
        cap=_cap(given.get("cap"), num_helps),
        rises=rises,
        task_wise=_task_wise(given.get("task_wise")),
        against=None if given.get("against") is None else tuple(given["against"]),
        told={name: given[name] for name in _TOLD if name in given},
    )


def _dial(given, method, match, rise, num_helps) -> tuple[Dial | None, tuple[float, ...]]:
    """The dial and the weights of the helps."""
    weights, dial = (1.0, *(0.0,) * (num_helps - 1)), None
    name = "p" if method == "random" else "threshold"
    value = given.get(name)
    if method == "random" and value is not None:
        p = [_number("p", one, 0, 1) for one in _listed(value)]
        p += [0.0] * (num_helps - len(p) if not isinstance(value, list) else 0)
        if len(p) != num_helps:
            raise ValueError(f"p has {len(p)} numbers, expected {num_helps}")
        Random(tuple(p))  # raises if they are no probabilities
        total = sum(p)
        weights = tuple(one / total for one in p) if total else weights
        dial = Dial((total,))
        if match is not None:  # p says how the helps share the calls
            return None, weights
    elif method in ("prm", "helper") and value is not None:
        values = tuple(_number(name, one, -float("inf"), float("inf")) for one in _listed(value))
        share = _number("share", given.get("share", 0.0), 0, 1)
        if len(values) > 2 or (len(values) == 2) != ("share" in given):
            raise ValueError(f"threshold is {value!r}, expected one, or two and their share")
        dial = Dial(values, share, given.get("either") is not None, rise)
    if dial is not None and match is not None:
        raise ValueError(f"both {name} and match are given, expected one of them")
    if dial is None and match is None and method in ("random", "prm"):
        raise ValueError(f"{name} is missing; expected it, or match")
    return dial, weights


def _help(given: dict[str, Any], num_helps: int) -> int | None:
    found = given.get("help", 1)
    if found != "any":
        return int(_number("help", found, 1, num_helps))
    if given["method"] != "prm" or "rise" in given or given.get("task_wise") is not None:
        raise ValueError("help is 'any', expected it of prm, without rise and task_wise")
    return None


def _cap(given: Any, num_helps: int) -> tuple[int, ...] | None:
    if given is None:
        return None
    cap = _listed(given)
    good = all(isinstance(one, int) and not isinstance(one, bool) and one >= 0 for one in cap)
    if not good or len(cap) != num_helps:
        raise ValueError(f"cap is {given!r}, expected {num_helps} whole numbers of at least 0")
    return tuple(cap)


def _task_wise(given: Any) -> TaskWise | str | None:
    if given in (None, "all"):
        return given
    if given == "now":
        return TaskWise()
    if isinstance(given, int) and not isinstance(given, bool) and given >= 1:
        return TaskWise(given)
    raise ValueError(f"task_wise is {given!r}, expected 'now', 'all' or a number of turns")


def _listed(given: Any) -> Sequence[Any]:
    return given if isinstance(given, list) else [given]


def _number(name: str, given: Any, low: float, high: float) -> float:
    if isinstance(given, bool) or not isinstance(given, int | float) or not low <= given <= high:
        raise ValueError(f"{name} is {given!r}, expected a number in {low:g}..{high:g}")
    return float(given)
