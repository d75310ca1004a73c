"""Worlds, actors and interventions by name."""

import pytest

from adapters.interventions import ByActor
from adapters.memo import Memoised
from adapters.person import Person
from adapters.search import Search
from adapters.spending import Prices
from experiments.players import Players, Servers, check_model, make_world
from models.heads import HeadConfig
from tests.adapters import tiny_folders
from tests.adapters.chat_server import ChatServer
from tests.adapters.doors import Doors, Noting

DOORS = "tests.adapters.doors:"


@pytest.fixture
def players():
    with Players(Doors(), Servers(api_key_env=None)) as made:
        yield made


def noting(world):
    return Noting()


def scorer(world):
    return lambda states, actions: [0.5] * len(states)


HERE = f"{__name__}:"


def test_one_of_your_own_is_made_from_the_world(players):
    actor = players.actor(f"{DOORS}greedy")
    assert (actor.name, actor.temperature) == ("greedy", 0.0)
    assert players.config == {f"{DOORS}greedy": {"name": "greedy", "temperature": 0.0}}


def test_an_actor_helps_and_an_intervention_stays_what_it_is(players):
    base = players.actor(f"{DOORS}greedy")
    help = players.intervention(f"{DOORS}oracle", base, f"{DOORS}greedy")
    assert isinstance(help, ByActor) and help.name == "oracle"
    assert isinstance(players.intervention(f"{HERE}noting", base, "base"), Noting)
    assert isinstance(players.intervention("person", base, "base"), Person)


def test_search_takes_a_scorer_and_a_proposer(players):
    base = players.actor(f"{DOORS}greedy")
    how = dict(scorer=f"{HERE}scorer", proposer=f"{DOORS}guesser")
    search = players.intervention("search", base, f"{DOORS}greedy", **how)
    assert isinstance(search, Search)
    assert players.config["search"] == {
        "name": "search(guesser)",
        "candidates": 5,
        "c": 0.25,
        "root": True,
        "once": True,
        "proposer": {"name": "guesser", "temperature": 1.0},
        "scorer": f"{HERE}scorer",
    }


def test_a_scripted_proposer_is_refused_as_it_always_proposes_the_same(players):
    how = dict(scorer=f"{HERE}scorer", proposer="greedy:0.1")
    with pytest.raises(ValueError, match="'greedy' has temperature 0"):
        players.intervention("search", players.actor("greedy"), "greedy", **how)


def test_a_language_model_in_a_folder_acts_helps_and_proposes(players, tmp_path):
    """It is loaded once, remembers its replies at temperature 0, and samples as a proposer."""
    name = f"llama:{tiny_folders.language_model()}"
    base = players.actor(name)
    assert isinstance(base, Memoised) and base.temperature == 0
    replies = base.act(tiny_folders.STATES[:2], [0, 0])
    assert [reply.cached for reply in base.act(tiny_folders.STATES[:2], [1, 2])] == [True, True]
    help = players.intervention(name, base, name)
    assert isinstance(help, ByActor) and help.deterministic
    helped = help.act(tiny_folders.STATES[:2], [None, None], [0, 0])
    assert [reply.raw for reply in helped] == [reply.raw for reply in replies]
    described = players.config[name]
    assert described["name"] == "model" and described["reads"] == "compact"
    assert len(described["sha256"]) == 64

    folder = tmp_path / "q"
    calibration = [{"kind": "temperature", "temperature": 1.0}]
    values = dict(helps=[], reads="action", calibration=calibration, quality={})
    tiny_folders.with_head(folder, "prm.json", HeadConfig("success", 0), **values)
    for proposer in (None, name):
        search = players.intervention(
            "search", base, name, proposer=proposer, scorer=f"prm:{folder}"
        )
        described = players.config["search"]
        assert described["proposer"]["temperature"] == 1.0
        assert described["scorer"]["reads"] == "action" and len(described["scorer"]["prm"]) == 64
        (reply,) = search.act(tiny_folders.STATES[:1], [search.start()], [0])
        assert reply.action is not None or reply.truncated
    assert search.deterministic


def test_sif_is_a_world_and_has_its_actors():
    world = make_world("sif", history_in_key=True)
    assert world.config["history_in_key"] is True
    with Players(world, Servers()) as players:
        for name in ("greedy", "reasoner", "oracle"):
            actor = players.actor(name)
            state = world.reset("pnp/train/0")
            assert actor.act([state], [0])[0].action in state.actions
            assert players.config[name]["name"] == actor.name
        players.actor("reasoner:0.125")
        assert players.config["reasoner:0.125"]["dial"] == 0.125


def test_models_are_asked_once_in_a_state_and_share_a_limit(tmp_path):
    prices = {"small": Prices(1.0, 1.0), "large": Prices(2.0, 2.0)}
    state = Doors().reset("doors/train/0")
    with ChatServer(reply=lambda call: "Action: door 1") as server:
        servers = Servers(
            base_url=server.base_url, api_key_env=None, prices=prices, cache=str(tmp_path / "c")
        )
        with Players(Doors(), servers) as players:
            base = players.actor("openai:small")
            help = players.intervention(f"openai:large@{server.base_url}", base, "openai:small")
            for _ in range(2):
                (reply,) = base.act([state], [0])
                assert reply.action == "door 1"
            help.act([state], [None], [0])
            assert players.spending.spent.calls == 2
            assert players.spending.spent.money == pytest.approx(15e-6 + 30e-6)
            search = players.intervention("search", base, "openai:small", scorer=f"{HERE}scorer")
            search.act([state], [search.start()], [0])
            assert players.models["search"].calls == 5
            assert players.spending.spent.calls == 7
    assert [call.body["temperature"] for call in server.calls] == [0.0, 0.0] + [1.0] * 5
    assert [call.body["model"] for call in server.calls] == ["small", "large"] + ["small"] * 5
    assert players.config["openai:small"] == {
        "name": "small",
        "temperature": 0.0,
        "base_url": server.base_url,
        "max_tokens": 300,
        "reads": "full",
    }


def test_names_are_checked_without_making_anything(tmp_path):
    names = ["search", "person", "greedy:0.5", f"{HERE}scorer", "openai:small"]
    servers = Servers(api_key_env=None, cache=str(tmp_path / "out" / "replies.sqlite"))
    with Players(Doors(), servers) as players:
        players.check(f"llama:{tiny_folders.language_model()}", names)
        assert players.config == {}
    assert not any(tmp_path.iterdir())


def test_a_folder_that_is_no_language_model_says_what_is_missing(tmp_path):
    for name, message in [
        ("config.json", "no config.json"),
        ("model.safetensors", "no model.safetensors or model.safetensors.index.json"),
        ("tokenizer.json", "no tokenizer"),
    ]:
        with pytest.raises(ValueError, match=f"^{tmp_path}: {message} there, expected a language"):
            check_model(tmp_path)
        (tmp_path / name).touch()
    check_model(tmp_path)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: p.actor("clever"), "'clever' is none of greedy, reasoner, oracle"),
        (lambda p: p.actor("greedy:2"), "'greedy:2': dial is 2.0"),
        (lambda p: p.actor("oracle:0.5"), "'oracle:0.5': ScriptedOracle.* takes no arguments"),
        (lambda p: p.actor("nowhere:x"), "'nowhere:x': No module named 'nowhere'"),
        (lambda p: p.actor(f"{DOORS}x"), "has no attribute 'x'"),
        (lambda p: p.actor(f"{HERE}scorer"), "gives function, expected an actor"),
        (lambda p: p.intervention(f"{HERE}scorer", None, "b"), "expected an intervention"),
        (lambda p: p.intervention("search", None, "b"), "search needs a scorer"),
        (lambda p: p.actor("llama:nowhere"), "^nowhere: no config.json there"),
        (
            lambda p: p.intervention("search", None, f"{DOORS}greedy", scorer=f"{HERE}scorer"),
            "'greedy' has temperature 0.0",
        ),
        (lambda p: p.check("greedy", ["person", "foo"]), "'foo' is none of greedy"),
        (lambda p: p.check("search"), "'search' is none of greedy"),
        (lambda p: p.check("greedy:2"), "'greedy:2': dial is 2.0"),
        (lambda p: p.check(f"{DOORS}x"), "has no attribute 'x'"),
        (lambda p: p.check("greedy", ["llama:nowhere"]), "^nowhere: no config.json there"),
        (lambda p: make_world("sif2"), "'sif2' is none of"),
        (lambda p: Players(p.world, Servers(max_money=1.0)), "expected prices of the models"),
        (
            lambda p: Players(p.world, Servers(prices={"a": Prices(1, 1)})).actor("openai:b"),
            r"prices of \['a'\], expected 'b' too",
        ),
    ],
)
def test_what_cannot_be_made_is_named(players, make, message):
    with pytest.raises(ValueError, match=message):
        make(players)
