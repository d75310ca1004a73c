"""A task as tables of small integers, made once and shared by all of its states.

Categories of objects and the receptacles of the whole house are numbered; an object on a
receptacle is then one integer, its code: category * (number of receptacles) + receptacle. Within a
category, codes in one room rise with the distance from the door, so "nearest" is the lowest.
"""

from collections.abc import Iterable

from adapters.sif.houses import NO_PUT
from adapters.sif.situation import Entry, Mark
from adapters.sif.tasks import Placed, Task

MAX_CALLS = 15  # actions in an episode, answers to queries included
MAX_STEPS = 600  # low-level steps in an episode
MAX_QUERY_STEPS = 500  # low-level steps after which the human is no longer followed
# Low-level steps. [chosen]
EXPLORE_STEPS, SPOT_STEPS = 12, 4  # a look, and the way to a spot for each spot between
PICK_STEPS, PUT_STEPS, GIVE_STEPS, FOLLOW_STEPS = 10, 10, 1, 20
ROOM_STEPS = 10  # for so long after reaching a room the human is in it, then in free space

ENOUGH, NOT_ENOUGH, DONE = "Enough Evidence", "Not Enough Evidence", "Done!"

Offers = dict[str, tuple[str, int]]  # an action as offered -> its verb and what it is done to


class Layout:
    """The tables of one task. Nothing here changes once made, but what `offers` and views remember.

    Attributes:
      task: what it was made from.
      num_rooms: R. A place is a room, 0..R-1, or one of the places in free space, from R.
      num_receptacles: N.
      categories: of objects, by number, sorted by name.
      receptacle: by receptacle, its category.
      room: by receptacle, its room.
      spot: by receptacle, the bit of its spot; every spot of the house has its own.
      look: [R][2n] by room and looks so far, the bit of the spot seen next; see `next_look`.
      look_steps: [R][2n] likewise, the low-level steps of that look.
      spot_receptacles: by bit of a spot, the receptacles in it as a mask.
      looked: [R][2n] by room and looks so far, the bits of the spots seen.
      travel: [places][R] low-level steps to each room.
      start: the place the agent starts in.
      premap: the map of phase 1.
      belief: codes of the premap * 2, sorted.
      objects: codes of the objects, sorted.
      mapped: the receptacles seen in phase 1, as a mask.
      goal: number of the goal's object category.
      walk_steps: low-level steps of the human's whole walk; 0 without one.
      human_room: [walk_steps + 1] the human's room after so many steps, -1 in free space.
      follow_place: by low-level steps walked, the place of an agent that has followed so far.
      max_cost: the most low-level steps that one action can take.
      room_views: what `adapters.sif.view` has made, by room, looks and mapped receptacles.
    """

    def __init__(self, task: Task):
        rooms = task.house.rooms
        self.task = task
        self.num_rooms = len(rooms)
        self.receptacle = [name for room in rooms for name in room.receptacles]
        self.num_receptacles = len(self.receptacle)
        self.room = [r for r, room in enumerate(rooms) for _ in room.receptacles]
        self._first = [
            self.room.index(r) if room.receptacles else 0 for r, room in enumerate(rooms)
        ]
        placed = (*task.premap, *task.objects)
        self.categories = tuple(sorted({item.object for item in placed}))
        self._number = {name: number for number, name in enumerate(self.categories)}
        self._lay_out_spots()
        self.belief = tuple(sorted({self.code(item) << 1 for item in task.premap}))
        self.premap = tuple(self.entry(entry >> 1, "premap") for entry in self.belief)
        self.objects = tuple(sorted(self.code(item) for item in task.objects))
        known = range(self.num_receptacles)
        if task.mapped is not None:
            known = [self._first[room] + i for room, i in task.mapped]
        self.mapped = _mask(known)
        self.goal = self._number[task.goal.object]
        self.travel = [list(row) for row in task.house.steps]
        self.start = self.num_rooms if task.start is None else task.start
        if task.start is None:
            self.travel.append(list(task.start_steps))
        self._lay_out_walk()
        way = max(max(row) for row in self.travel)
        look = max(max(row, default=0) for row in self.look_steps)
        wait = GIVE_STEPS + self.walk_steps if task.walk else 0
        self.max_cost = max(way, look, wait, PICK_STEPS, PUT_STEPS, FOLLOW_STEPS)
        self.room_views: dict[tuple[int, int, int], tuple] = {}
        self._offers: dict[tuple, Offers] = {}

    def code(self, placed: Placed) -> int:
        """The integer of an object on a receptacle."""
        at = self._first[placed.room] + placed.receptacle
        return self._number[placed.object] * self.num_receptacles + at

    def placed(self, code: int) -> Placed:
        """The object on a receptacle of that code."""
        number, at = divmod(code, self.num_receptacles)
        room = self.room[at]
        return Placed(self.categories[number], room, at - self._first[room])

    def entry(self, code: int, mark: Mark) -> Entry:
        """The entry of the map for the object on a receptacle of that code."""
        number, at = divmod(code, self.num_receptacles)
        return Entry(self.categories[number], self.room[at], self.receptacle[at], mark)

    def next_look(self, room: int, looks: int) -> int:
        """The looks so far after one more.

        The n spots of a room come round and round. Only which have been seen and which is next
        matter, so counts from n on stand for their remainder: they run from n to 2n - 1.
        """
        return looks + 1 if looks + 2 <= len(self.look[room]) else len(self.look[room]) // 2

    def receptacles_of(self, room: int, mapped: int) -> list[str]:
        """The mapped receptacles of a room, nearest first."""
        first, count = self._first[room], len(self.task.house.rooms[room].receptacles)
        return [self.receptacle[i] for i in range(first, first + count) if mapped >> i & 1]

    def find(self, room: int, receptacle: str, mapped: int) -> int:
        """The nearest mapped receptacle of that category in the room, by number."""
        first = self._first[room]
        for at in range(first, self.num_receptacles):
            if self.receptacle[at] == receptacle and mapped >> at & 1:
                return at
        raise AssertionError(f"no {receptacle} is mapped in room {room}")

    def offers(self, place: int, held: int, here: tuple[int, ...], mapped: int) -> Offers:
        """The actions offered, in order, outside of queries.

        Args:
          place: where the agent is.
          held: category in its hand, -1 if none.
          here: categories believed to be in this room, sorted.
          mapped: the receptacles seen, as a mask.
        """
        in_room = place < self.num_rooms
        mapped = mapped & self._room_receptacles[place] if in_room and held >= 0 else 0
        known = (place, held, here if held < 0 else (), mapped)
        offers = self._offers.get(known)
        if offers is None:
            offers = self._offers[known] = self._make_offers(*known)
        return offers

    def _make_offers(self, place: int, held: int, here: tuple[int, ...], mapped: int) -> Offers:
        rooms, offers = self.task.house.rooms, {}
        in_room = place < self.num_rooms
        if in_room:
            offers[f"Explore Room {rooms[place].number}"] = ("explore", place)
        for room in sorted(range(self.num_rooms), key=lambda r: rooms[r].number):
            if room != place:
                offers[f"Go to Room {rooms[room].number}"] = ("go", room)
        for number in here:
            offers[f"Pick up {self.categories[number]}"] = ("pick", number)
        if held >= 0 and in_room:
            name = self.categories[held]
            for receptacle in dict.fromkeys(self.receptacles_of(place, mapped)):
                if receptacle not in NO_PUT:
                    at = self.find(place, receptacle, mapped)
                    offers[f"Put {name} on the {receptacle}"] = ("put", at)
            if place == self.task.destination:
                offers[f"Give {name} to the human"] = ("give", held)
        offers[DONE] = ("done", 0)
        return offers

    def _lay_out_spots(self):
        self.look, self.look_steps, self.looked = [], [], []
        self.spot = [0] * self.num_receptacles
        self.spot_receptacles: dict[int, int] = {}
        self._room_receptacles = []
        bit = 1
        for r, room in enumerate(self.task.house.rooms):
            first, order, bits = self._first[r], self.task.looks[r], []
            for spot in room.spots:
                for i in spot:
                    self.spot[first + i] = bit
                self.spot_receptacles[bit] = _mask(first + i for i in spot)
                bits.append(bit)
                bit <<= 1
            turns = len(order)
            self.look.append([bits[order[n % turns]] for n in range(2 * turns)])
            ways = [abs(order[n % turns] - order[n % turns - 1]) for n in range(2 * turns)]
            self.look_steps.append([EXPLORE_STEPS + SPOT_STEPS * way for way in ways])
            seen = [sum(bits[i] for i in order[:n]) for n in range(2 * turns)]
            self.looked.append(seen)
            self._room_receptacles.append(sum(self.spot_receptacles[b] for b in bits))

    def _lay_out_walk(self):
        walk = self.task.walk
        self.walk_steps, self.human_room, self.follow_place = 0, [-1], {}
        if walk is None:
            return
        self.walk_steps = walk.times[-1]
        self.human_room = [-1] * (self.walk_steps + 1)
        for room, time in zip(walk.rooms, walk.times, strict=True):
            for t in range(time, min(self.walk_steps, time + ROOM_STEPS) + 1):
                self.human_room[t] = room
        for t in {min(t, self.walk_steps) for t in range(0, self.walk_steps + 20, FOLLOW_STEPS)}:
            if self.human_room[t] >= 0:
                self.follow_place[t] = self.human_room[t]
                continue
            self.follow_place[t] = len(self.travel)
            leg = max(i for i, time in enumerate(walk.times) if time <= t)
            back, on = t - walk.times[leg], walk.times[leg + 1] - t
            ways = zip(self.travel[walk.rooms[leg]], self.travel[walk.rooms[leg + 1]], strict=True)
            self.travel.append([min(back + a, on + b) for a, b in ways])


def _mask(bits: Iterable[int]) -> int:
    return sum(1 << bit for bit in set(bits))
