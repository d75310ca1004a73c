"""A language model in a local folder as an actor: no server, no network.

`models.generation` generates, all states of a call in batches; `adapters.replies` reads the action
out of a reply. At temperature 0 put `adapters.memo.Memoised` around it.
"""

import copy
import inspect
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self

from adapters.protocols import Reply, State
from adapters.replies import ReplyParser, parse_action
from models import convert, sampling
from models.config import Execution, LlamaConfig, is_token_ids
from models.documents import Limit
from models.generation import Generation, Generator
from models.model_folder import fingerprint
from models.stopping import StopTable, text_before
from models.tokenizer import Tokenizer


class LlamaActor:
    """An `adapters.protocols.Actor` over a Hugging Face folder.

    What it answers depends on the state's text and, at a temperature, on the state's seed: not on
    the states beside it. States of one text share their prompt's prefill, so that a search's
    candidates cost little more than one.
    """

    def __init__(
        self,
        folder: str | os.PathLike,
        *,
        name: str | None = None,
        style: str = "compact",
        temperature: float = 0.0,
        top_p: float = 1.0,
        max_new_tokens: int = 96,
        stop: Sequence[str] = (),
        system: str | None = None,
        prompt: Callable[[str], str] | None = None,
        parse: ReplyParser = parse_action,
        too_long: Literal["refuse", "truncate"] = "refuse",
        dtype: str | None = None,
        execution: Execution = Execution(),  # noqa: B008 (frozen)
        max_rows: int | None = None,
    ):
        """Loads the folder; compiles nothing yet.

        Args:
          folder: config.json, safetensors and a tokenizer.
          name: stands in the rollouts; the folder's if None.
          style: of the states' text.
          temperature: 0 is greedy.
          top_p: in (0, 1].
          max_new_tokens: of a reply.
          stop: strings that end a reply, and are no part of it. The model's end tokens do in any
            case: those in generation_config.json, else in config.json, else the tokenizer's.
          system: a system message, for folders with a chat template.
          prompt: from a state's text to the prompt, to which the tokenizer adds its beginning. If
            None, the chat template with the text as the user's message; without a chat template the
            text as it is.
          parse: reads the action out of a reply.
          too_long: "refuse" prompts that with `max_new_tokens` are longer than the model is meant
            for, or "truncate" them from the left.
          dtype: to compute in and cast the weights to; None is the folder's.
          execution: of the model; its mesh spreads the weights too.
          max_rows: as `models.generation.Generator`.

        Raises:
          OSError: a file is missing or may not be read.
          ValueError: an argument is out of range, or a file is refused; see `models.convert.load`
            and `models.tokenizer.Tokenizer.load`.
        """
        sampling.method(temperature, top_p)
        config = LlamaConfig.load(folder)
        room = config.max_position_embeddings
        if not 1 <= max_new_tokens < room:
            raise ValueError(
                f"max_new_tokens is {max_new_tokens}, expected 1 or more, and below {room}, "
                f"max_position_embeddings of {folder}"
            )
        self._limit = Limit(room - max_new_tokens, too_long)
        self._tokenizer = Tokenizer.load(folder, vocab_size=config.vocab_size)
        if system is not None and (prompt or not self._tokenizer.has_chat_template):
            raise ValueError(
                f"system is {system!r}, expected None: "
                + ("prompt is given" if prompt else f"{folder} has no chat template")
            )
        self._stop_table = StopTable.build(
            config.vocab_size,
            _end_tokens(folder, config, self._tokenizer),
            tuple(stop) if not isinstance(stop, str) else stop,
            self._tokenizer.token_bytes if stop else None,
        )
        self._name = name or Path(folder).resolve().name
        self._style, self._system, self._prompt, self._parse = style, system, prompt, parse
        self._temperature, self._top_p = float(temperature), float(top_p)
        self._max_new_tokens, self._stop = max_new_tokens, tuple(stop)
        self._fingerprint = fingerprint(folder)
        model = convert.load(folder, dtype=dtype, mesh=execution.mesh, execution=execution)
        self._generator = Generator(model, max_rows=max_rows, fixed=True)

    @property
    def name(self) -> str:
        return self._name

    @property
    def temperature(self) -> float:
        return self._temperature

    @property
    def config(self) -> Mapping[str, Any]:
        """All that changes what it answers, JSON values; `sha256` is of the folder's files.

        Of a `prompt` or `parse` of the caller's own it has the name: what it does, nobody can tell.
        """
        computed_in = self._generator.model.execution.dtype
        own = {
            "computed_in": computed_in if computed_in != self._dtype else None,
            "prompt": None if self._prompt is None else _name_of(self._prompt),
            "parse": None if self._parse is parse_action else _name_of(self._parse),
        }
        return {
            "sha256": self._fingerprint,
            "reads": self._style,
            "system": self._system,
            "top_p": self._top_p,
            "max_new_tokens": self._max_new_tokens,
            "stop": list(self._stop),
            "too_long": self._limit.too_long,
            "dtype": self._dtype,
            **{name: value for name, value in own.items() if value is not None},
        }

    @property
    def _dtype(self) -> str:
        return str(self._generator.model.config.dtype)

    @property
    def truncated_prompts(self) -> int:
        """Prompts cut on their left so far."""
        return self._limit.truncated

    def at(self, temperature: float, *, top_p: float = 1.0, name: str | None = None) -> Self:
        """The same actor at another temperature, on the same weights.

        Raises:
          ValueError: an argument is out of range.
        """
        sampling.method(temperature, top_p)
        found = copy.copy(self)
        found._temperature, found._top_p = float(temperature), float(top_p)
        found._name = name or self._name
        return found

    def act(self, states: Sequence[State], seeds: Sequence[int]) -> list[Reply]:
        """One reply for each state, in their order, as `Actor.act`.

        A reply that was cut off by `max_new_tokens` before its action was complete is `truncated`.
        Tokens are counted for each reply as a server would; the seconds of the call are shared out
        evenly.

        Raises:
          ValueError: there are more or fewer seeds than states, or a prompt is too long and
            refused; names the state.
          FloatingPointError: the model's logits are not finite.
        """
        if len(seeds) != len(states):
            raise ValueError(f"seeds has {len(seeds)} entries, expected {len(states)}, as states")
        began = time.perf_counter()
        texts = [state.text(self._style) for state in states]
        first: dict[str, int] = {}
        for i, text in enumerate(texts):
            first.setdefault(text, i)
        places = {text: place for place, text in enumerate(first)}
        prompts = [
            tokens[self._limit.excess(f"state {states[i].key!r}", len(tokens)) :]
            for i, tokens in zip(first.values(), self._encode(list(first)), strict=True)
        ]
        grouped: list[list[int]] = [[] for _ in prompts]
        for text, seed in zip(texts, seeds, strict=True):
            grouped[places[text]].append(int(seed))
        found = self._generator.generate(
            prompts,
            grouped,
            max_new_tokens=self._max_new_tokens,
            temperature=self._temperature,
            top_p=self._top_p,
            stop=self._stop_table,
        )
        answers = [iter(generations) for generations in found]
        seconds = (time.perf_counter() - began) / max(len(states), 1)
        return [
            self._reply(state, next(answers[place]), len(prompts[place]), seconds)
            for state, place in zip(states, map(places.__getitem__, texts), strict=True)
        ]

    def _encode(self, texts: Sequence[str]) -> list[list[int]]:
        if self._prompt is not None:
            return self._tokenizer.encode([self._prompt(text) for text in texts])
        if not self._tokenizer.has_chat_template:
            return self._tokenizer.encode(texts)
        before = [] if self._system is None else [{"role": "system", "content": self._system}]
        chats = [
            self._tokenizer.chat([*before, {"role": "user", "content": text}]) for text in texts
        ]
        return self._tokenizer.encode(chats, special=False)

    def _reply(
        self, state: State, generation: Generation, input_tokens: int, seconds: float
    ) -> Reply:
        said = text_before(self._tokenizer.bytes_of(generation.tokens), self._stop)
        action = self._parse(said, state.actions, cut=generation.finish == "length")
        return Reply(
            action,
            raw=said,
            truncated=action is None,
            input_tokens=input_tokens,
            output_tokens=len(generation.tokens),
            seconds=seconds,
        )


def _name_of(function: Callable) -> str:
    """MODULE:NAME, of its class where it is an object."""
    named = function if inspect.isfunction(function) else type(function)
    return f"{named.__module__}:{named.__qualname__}"


def _end_tokens(
    folder: str | os.PathLike, config: LlamaConfig, tokenizer: Tokenizer
) -> tuple[int, ...]:
    path = Path(folder) / "generation_config.json"
    found = None
    if path.exists():
        try:
            found = json.loads(path.read_text(encoding="utf-8")).get("eos_token_id")
        except (ValueError, AttributeError) as error:
            raise ValueError(f"{path}: not a generation config: {error}") from error
        if not is_token_ids(found):
            raise ValueError(f"{path}: eos_token_id is {found!r}, expected one id or several")
    for ids in (found, config.eos_token_id, tokenizer.end_token):
        if ids is not None:
            return (ids,) if isinstance(ids, int) else tuple(ids)
    return ()
