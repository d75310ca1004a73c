"""An actor as an intervention."""

from adapters.interventions import ByActor
from tests.adapters import doors
from tests.adapters.doors import Doors


def test_it_is_the_actor():
    states = [Doors().reset(f"doors/train/{i}") for i in range(3)]
    help = ByActor(doors.oracle())
    assert help.act(states, [help.start()] * 3, [0, 1, 2]) == doors.oracle().act(states, [0, 1, 2])
    assert help.name == "oracle"


def test_it_is_deterministic_if_the_actor_is():
    assert ByActor(doors.oracle()).deterministic
    assert not ByActor(doors.guesser()).deterministic
