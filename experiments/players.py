"""Worlds, actors and interventions by the names that scripts take on the command line.

world         sif                       the simulated SIF
              replay:FOLDER             recorded turns, as import_logs --splice wrote them
              MODULE:FUNCTION           FUNCTION() gives a world of your own
actor         greedy, reasoner, oracle  scripted, in SIF only
              openai:MODEL              any server that speaks Chat Completions
              openai:MODEL@URL          on another server than --base_url
              llama:FOLDER              a language model in a local folder; reads the compact style
              recorded                  in replay:FOLDER only: what the base model said;
                                        recorded:1, recorded:2, ... what its helps said
              MODULE:FUNCTION           FUNCTION(world) gives an actor of your own
intervention  any of the actors         or FUNCTION(world) gives an intervention of your own
              search                    depth-1 search around the base actor at temperature 1,
                                        which --proposer names if it is neither openai:MODEL nor
                                        llama:FOLDER; needs a scorer
              person                    at this terminal; the base actor acts where they skip
scorer        prm:FOLDER                what experiments.train_prm --action made
              MODULE:FUNCTION           FUNCTION(world) gives Q
"""

import contextlib
import dataclasses
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from adapters.imported import imported
from adapters.interventions import ByActor
from adapters.logs.replay import ReplayWorld
from adapters.memo import Memoised
from adapters.person import Person
from adapters.protocols import Actor, Intervention, Scorer, World
from adapters.reply_cache import ReplyCache
from adapters.search import CANDIDATES, Search
from adapters.shared_spending import Share, account
from adapters.sif.generator import SifConfig
from adapters.sif.world import SifWorld
from adapters.spending import Prices, Spending
from models.model_folder import has_tokenizer

if TYPE_CHECKING:
    from adapters.llama_actor import LlamaActor
    from adapters.openai_actor import OpenAIActor

_SCRIPTED = {
    "greedy": "adapters.sif.scripted:ScriptedGreedy",
    "reasoner": "adapters.sif.scripted:ScriptedReasoner",
    "oracle": "adapters.sif.oracle:ScriptedOracle",
}
_LLAMA, _OPENAI, _PRM, _REPLAY = "llama:", "openai:", "prm:", "replay:"
_RECORDED, _SEARCH, _PERSON = "recorded", "search", "person"
_WEIGHTS = ("model.safetensors", "model.safetensors.index.json")
_REMEMBERED = 100_000  # states of which a model's reply is kept in memory


def make_world(
    name: str, *, history_in_key: bool = False, tasks: int | None = None, seed: int = 0
) -> World:
    """The world of that name.

    Args:
      name: sif, replay:FOLDER or MODULE:FUNCTION.
      history_in_key: as `SifWorld`; for SIF only.
      tasks: that each split is to have at least; for SIF only.
      seed: of houses and tasks; for SIF only.

    Raises:
      ValueError: there is none.
    """
    if name.startswith(_REPLAY):
        return ReplayWorld(name.removeprefix(_REPLAY))
    if name != "sif":
        return make(name)
    return SifWorld(SifConfig(seed).holding(tasks or 0), history_in_key=history_in_key)


@dataclasses.dataclass(frozen=True)
class Servers:
    """How models behind servers are called; see `adapters.openai_actor.OpenAIActor`.

    Attributes:
      base_url, api_key_env, max_tokens, style, concurrency: as there.
      cache: file of the answers, None for none.
      prices: by model; empty where nothing is billed.
      max_calls, max_money: of all models together.
    """

    base_url: str | None = None
    api_key_env: str | None = "OPENAI_API_KEY"
    max_tokens: int = 300
    style: str = "full"
    concurrency: int = 16
    cache: str | None = None
    prices: Mapping[str, Prices] = dataclasses.field(default_factory=dict)
    max_calls: int | None = None
    max_money: float | None = None


class Model(NamedTuple):
    """An actor behind a server, and how often it is called in a turn that it plays."""

    actor: "OpenAIActor"
    calls: int


class Players:
    """Makes what the names say. Leaving its `with` statement closes what has to be closed.

    Attributes:
      world: where they play.
      config: of each actor and intervention made, by the name it was given: what a folder of
        rollouts should say about it, JSON values.
      models: those that are behind servers, by the same names.
      spending: what all models spent together.
    """

    def __init__(self, world: World, servers: Servers):
        """Starts with none.

        Raises:
          ValueError: a limit is out of range, or money is limited and there are no prices.
        """
        self.world = world
        self.config: dict[str, dict[str, Any]] = {}
        self.models: dict[str, Model] = {}
        self._servers, self._stack = servers, contextlib.ExitStack()
        self._cache: ReplyCache | None = None
        self._llamas: dict[str, LlamaActor] = {}
        if servers.max_money is not None and not servers.prices:
            raise ValueError("money is limited, expected prices of the models")
        if servers.prices:
            self.spending = account(servers.max_calls, servers.max_money)
        else:
            self.spending = Spending(max_calls=servers.max_calls)

    def check(self, actor: str, interventions: Sequence[str] = ()) -> None:
        """Raises ValueError where there are none of these names, and writes nothing.

        No model is loaded, and nothing of your own is called.
        """
        for name in (actor, *(one for one in interventions if one not in (_SEARCH, _PERSON))):
            if name.startswith(_LLAMA):
                check_model(name.removeprefix(_LLAMA))
            elif name.startswith(_OPENAI):
                self._served(name, 0.0, None).close()
            elif name.partition(":")[0] in (*_SCRIPTED, _RECORDED):
                self._own(name)
            else:
                _function(name)

    def actor(self, name: str) -> Actor:
        """The actor of that name.

        Raises:
          ValueError: there is none, or it cannot be made; says why.
        """
        if name.startswith(_LLAMA):
            llama = self._llama(name)
            self.config[name] = self._description(llama)
            return Memoised(llama, _REMEMBERED)
        if name.startswith(_OPENAI):
            model = self._model(name, temperature=0.0)
            self.models[name] = Model(model, 1)
            self.config[name] = self._description(model)
            return Memoised(model, _REMEMBERED)
        found = self._own(name)
        if not hasattr(found, "act") or not hasattr(found, "temperature"):
            raise ValueError(f"{name!r} gives {type(found).__name__}, expected an actor")
        self.config[name] = self._description(found)
        return found

    def intervention(
        self,
        name: str,
        base: Actor,
        base_name: str,
        *,
        proposer: str | None = None,
        scorer: str | None = None,
    ) -> Intervention:
        """The intervention of that name.

        Args:
          name: of the intervention.
          base, base_name: the base actor: who is searched around, and acts where a person skips.
          proposer, scorer: names, for search.

        Raises:
          ValueError: there is none, or it cannot be made; says why.
        """
        if name == _SEARCH:
            return self._search(base_name, proposer, scorer)
        if name == _PERSON:
            found: Any = Person(base)
        elif name.startswith((_OPENAI, _LLAMA)):
            return ByActor(self.actor(name))
        else:
            found = self._own(name)
        if not hasattr(found, "act"):
            raise ValueError(f"{name!r} gives {type(found).__name__}, expected an intervention")
        self.config[name] = self._description(found)
        return found if hasattr(found, "start") else ByActor(found)

    def __enter__(self) -> "Players":
        return self

    def __exit__(self, *_) -> None:
        self._stack.close()

    def _search(self, base_name: str, proposer: str | None, scorer: str | None) -> Search:
        if scorer is None:
            raise ValueError("search needs a scorer, expected prm:FOLDER or MODULE:FUNCTION")
        proposer = proposer or base_name
        if proposer.startswith(_OPENAI):
            proposing: Any = self._model(proposer, temperature=1.0)
            self.models["search"] = Model(proposing, CANDIDATES)
        elif proposer.startswith(_LLAMA):
            proposing = self._llama(proposer).at(1.0)
        else:
            proposing = self._own(proposer)
        judge, judged_by = self._scorer(scorer)
        # A server's replies to one seed are not always the same.
        found = Search(proposing, judge, once=not proposer.startswith(_OPENAI))
        described = dict(proposer=self._description(proposing), scorer=judged_by)
        self.config["search"] = self._description(found) | described
        return found

    def _scorer(self, name: str) -> tuple[Scorer, Any]:
        """Q, and what rollouts say about it."""
        if not name.startswith(_PRM):
            return make(name, self.world), name
        from adapters.prm import PRM  # takes jax and flax

        prm = PRM.load(name.removeprefix(_PRM))
        return prm.as_scorer(), dict(prm.config)

    def _llama(self, name: str) -> "LlamaActor":
        """At temperature 0; one model a folder, however often it is named."""
        from adapters.llama_actor import LlamaActor  # takes jax and flax

        if name not in self._llamas:
            folder = name.removeprefix(_LLAMA)
            check_model(folder)
            self._llamas[name] = LlamaActor(folder)
        return self._llamas[name]

    def _model(self, name: str, temperature: float) -> "OpenAIActor":
        cache = self._servers.cache
        if self._cache is None and cache is not None:
            pathlib.Path(cache).parent.mkdir(parents=True, exist_ok=True)
            self._cache = self._stack.enter_context(ReplyCache(cache))
        return self._stack.enter_context(self._served(name, temperature, self._cache))

    def _served(self, name: str, temperature: float, cache: ReplyCache | None) -> "OpenAIActor":
        from adapters.openai_actor import OpenAIActor  # takes the openai client

        servers = self._servers
        model, _, url = name.removeprefix(_OPENAI).partition("@")
        if servers.prices and model not in servers.prices:
            raise ValueError(
                f"there are prices of {sorted(servers.prices)}, expected {model!r} too"
            )
        prices = servers.prices.get(model)
        return OpenAIActor(
            model,
            base_url=url or servers.base_url,
            api_key_env=servers.api_key_env,
            temperature=temperature,
            max_tokens=servers.max_tokens,
            style=servers.style,
            concurrency=servers.concurrency,
            cache=cache,
            spending=Share(self.spending, prices) if prices else self.spending,
        )

    def _own(self, name: str) -> Any:
        scripted, _, dial = name.partition(":")
        if scripted == _RECORDED:
            return self._recorded(name, dial)
        if scripted not in _SCRIPTED:
            return make(name, self.world)
        try:
            return make(_SCRIPTED[scripted], *([float(dial)] if dial else []))
        except (TypeError, ValueError) as error:
            raise ValueError(f"{name!r}: {error}") from error

    def _recorded(self, name: str, decision: str) -> Actor:
        if not isinstance(self.world, ReplayWorld):
            raise ValueError(f"{name!r}: expected --world=replay:FOLDER")
        if decision and not decision.isdecimal():
            raise ValueError(f"{name!r}: expected {_RECORDED} or {_RECORDED}:1, {_RECORDED}:2, ...")
        return self.world.player(int(decision or 0))

    def _description(self, player: Any) -> dict[str, Any]:
        """What rollouts say about a player: its name, and all that changes what it answers."""
        found: dict[str, Any] = {"name": player.name}
        if hasattr(player, "temperature"):
            found["temperature"] = player.temperature
        if hasattr(player, "base_url"):
            found |= dict(
                base_url=player.base_url,
                max_tokens=self._servers.max_tokens,
                reads=self._servers.style,
            )
        return found | dict(getattr(player, "config", {}))


def check_model(folder: str | os.PathLike) -> None:
    """Raises ValueError where a file of a language model's folder is missing."""
    path = pathlib.Path(folder)
    missing = None
    if not has_tokenizer(path):
        missing = "tokenizer"
    if not any((path / name).exists() for name in _WEIGHTS):
        missing = " or ".join(_WEIGHTS)
    if not (path / "config.json").exists():
        missing = "config.json"
    if missing is not None:
        raise ValueError(f"{folder}: no {missing} there, expected a language model's folder")


def make(name: str, *arguments: Any) -> Any:
    """What MODULE:FUNCTION returns.

    Raises:
      ValueError: there is no such module or function.
    """
    return _function(name)(*arguments)


def _function(name: str) -> Any:
    module, colon, function = name.partition(":")
    if not (module and colon and function):
        known = ", ".join((*_SCRIPTED, _RECORDED))
        raise ValueError(
            f"{name!r} is none of {known}, openai:MODEL, llama:FOLDER or MODULE:FUNCTION"
        )
    return imported(name)
