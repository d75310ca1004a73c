"""What furniture and sentences tell of rooms."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.sif import clues, rules
from adapters.sif.houses import ACTIVITIES, FURNITURE, RECEPTACLES
from adapters.sif.layout import Layout
from adapters.sif.tasks import Sentence
from tests.adapters.sif.small import PNP

VIEW = rules.start(Layout(PNP)).view()  # kitchen, living room, bathroom, bedroom


@given(st.lists(st.sampled_from(RECEPTACLES), max_size=6), st.booleans())
def test_odds_of_functions_are_probabilities(receptacles, complete):
    odds = clues.function_odds(tuple(receptacles), complete)
    assert set(odds) == set(FURNITURE)
    assert sum(odds.values()) == pytest.approx(1) and min(odds.values()) >= 0


@pytest.mark.parametrize("function", FURNITURE)
def test_all_that_a_room_may_have_tells_its_function(function):
    always, maybe = FURNITURE[function]
    odds = clues.function_odds((*always, *maybe), True)
    assert max(odds, key=odds.get) == function and odds[function] > 0.5


def test_each_room_of_the_house_fits_what_is_typical_of_it():
    for at, cue in enumerate(["cooking", "living room", "toilet", "bed"]):
        fits = clues.fits(VIEW, cue)
        assert fits.index(max(fits)) == at and max(fits) > 0.5


def test_a_receptacle_on_the_map_leaves_no_other_room():
    assert clues.fits(VIEW, "bed") == [0, 0, 0, 1]
    assert clues.fits(VIEW, "table") == [1, 1, 0, 0]


def test_a_receptacle_on_no_map_may_be_where_something_is_still_unseen():
    unknown = tuple(room._replace(complete=room.number == 1) for room in VIEW.rooms)
    fits = clues.fits(VIEW._replace(rooms=unknown), "bathtub")
    assert fits[0] == 0 and 0 < fits[2] < 1 and max(fits) == fits[2]


def test_cues_are_about_what_was_spoken_of():
    view = VIEW._replace(
        sentences=(
            Sentence("I left the cup by the bathtub.", "cup", "bathtub"),
            Sentence("I am going over there.", "", ""),
            Sentence("You find the stuffed toy in the living room, where there are tables."),
        )
    )
    assert clues.cues_about(view, "cup") == ["bathtub"]
    assert clues.cues_about(view, "stuffed_toy") == ["living room", "table"]
    assert clues.cues_about(view, "hat") == []


@pytest.mark.parametrize("cue", [*FURNITURE, *RECEPTACLES, *ACTIVITIES])
def test_every_cue_fits_to_some_degree_in_every_house(cue):
    assert all(0 <= fit <= 1 + 1e-9 for fit in clues.fits(VIEW, cue))
