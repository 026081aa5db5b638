"""Random small sites for the laws of the matcher: people who come and go, look alike, are lost, and are mistaken."""

import math
from dataclasses import dataclass, field, replace

from identity_site import COLOURS, Operator, Site, Walk, make, near, stream_of, twice_at_once
from room import GROUNDS, path

from pipeline.config import MatcherConfig, TopologyConfig

CAMERAS = ("door", "hall", "yard")
CONFIG = MatcherConfig(
    absence_s=2.0, occlusion_s=4.0, identity_ttl_s=60.0, revise_s=15.0, decide_every_s=0.2, patience_s=1.5
)
STEP_S = 0.25  # everything begins and ends on it
# two pairs of people who look alike
LOOKS = (COLOURS[0], near(COLOURS[0], 0.2, towards=1), COLOURS[2], near(COLOURS[2], 0.45, towards=3))


@dataclass(frozen=True, eq=False)
class RandomSite:
    """Tracks by camera with the true person of each, and how the site is set up."""

    cameras: tuple
    walks: tuple
    person: dict
    tells: tuple
    every_s: tuple
    until_s: float
    breaks_s: dict  # by camera
    rules: tuple = ()
    grounds: dict = field(default_factory=dict)
    config: MatcherConfig = CONFIG

    def streams(self, quiet_s=0.0, ended=True):
        """Of each camera; all is quiet for so long at the end."""
        return [
            stream_of(
                camera, self.walks, self.until_s + quiet_s, tells, every_s, ended, self.breaks_s.get(camera, math.inf)
            )
            for camera, tells, every_s in zip(self.cameras, self.tells, self.every_s, strict=True)
        ]

    def matcher(self, state=None, **options):
        known = {"topology": self.rules, "grounds": self.grounds, "features_s": 60.0}
        return make(self.config, self.cameras, state=state, **known, **options)

    def run(self, order, restarts=frozenset(), **options):
        """The site after messages in this order of arrival; killed and started again before some of them."""
        site = Site(self.matcher(**options))
        for number, message in enumerate(order):
            if number in restarts:
                site.restart(lambda state: self.matcher(state, **options))
            site.feed(message)
        return site


def random_site(rng, noise=True):
    """Two or three cameras, up to four people; without noise they look the same always, and like nobody else."""
    cameras = CAMERAS[: rng.choice((2, 2, 3))]
    people = range(rng.randint(1, 4))
    walks, person, breaks_s = [], {}, {}
    places = {}
    if noise and rng.random() < 0.3:
        places = {who: ((rng.random() * 3 - 1.5, 4.5 + rng.random() * 3), (rng.random() * 0.04, 0.0)) for who in people}
    for camera_id in cameras:
        tracks = [stay for who in people for stay in _stays(rng, camera_id, who, noise, bool(places))]
        if places:
            tracks = [(replace(one, boxes=path(camera_id, *places[who])), who) for one, who in tracks]
        for number, (one, who) in enumerate(sorted(tracks, key=lambda t: (t[0].first_s, t[1])), start=1):
            walks.append(replace(one, track_id=number))
            person[walks[-1].key] = who
        if rng.random() < 0.2:
            breaks_s[camera_id] = rng.randint(8, 80) * STEP_S
            walks, person = _broken_off(breaks_s[camera_id], camera_id, walks, person)
    until_s = max((one.last_s for one in walks), default=0.0) + 5.0
    pair = rng.choice((None, None, False, True))
    return RandomSite(
        cameras,
        tuple(walks),
        person,
        tuple(rng.choice((1, 1, 3, 0)) for _ in cameras),
        tuple(rng.choice((0.5, 0.5, 1.0, 0.75)) for _ in cameras),
        until_s,
        breaks_s,
        () if pair is None or not noise else (TopologyConfig(pair=cameras[:2], overlap=pair),),
        GROUNDS if places and rng.random() < 0.7 else {},
    )


def _stays(rng, camera_id, who, noise, doubles):
    """The tracks of one person in one camera, one after the other; with `doubles` some are followed twice."""
    now_s, found = 0.0, []
    for _ in range(rng.choice((0, 1, 1, 2, 3))):
        first_s = now_s + rng.randint(1, 40) * STEP_S
        if doubles and now_s and rng.random() < 0.2:
            first_s = now_s - STEP_S
        now_s = last_s = first_s + rng.choice((1, 3, 6, 12, 30, 60)) * STEP_S
        hidden = ()
        if noise and last_s - first_s > 5 and rng.random() < 0.3:
            away_s = first_s + rng.randint(4, 12) * STEP_S
            hidden = ((away_s, away_s + rng.randint(2, 7) * STEP_S),)
        looks = _looks(rng, who) if noise else (COLOURS[who],)
        about = {"quality": rng.choice((0.8, 0.8, 0.5, 0.05))} if noise else {}
        left = rng.random() < 0.7
        found.append((Walk(camera_id, 0, first_s, last_s, looks, left, hidden, about=about), who))
    return found


def _looks(rng, who):
    """As the person is; a little off; or like somebody else, at first, in between, or from then on."""
    own, other = LOOKS[who], rng.choice(LOOKS)
    off = near(own, rng.choice((0.05, 0.1, 0.3)), towards=8 + rng.randint(0, 7))
    return rng.choice(
        ((own,), (off, own), (other, own), (other, other, own), (own, own, other, own), (own, other), (off,))
    )


def _broken_off(break_s, camera_id, walks, person):
    """The camera's stream breaks off: who is there then goes on in a new track of the next epoch."""
    kept, who = [], {}
    for one in walks:
        pieces = [one]
        if one.camera_id == camera_id and one.first_s >= break_s:
            pieces = [replace(one, epoch="2")]
        elif one.camera_id == camera_id and one.last_s >= break_s:
            # seen until just before, and again just after; nobody says how the first track ended
            first = replace(one, last_s=max(one.first_s, break_s - 0.1), given_up_s=math.inf)
            pieces = [first, replace(one, first_s=break_s + 0.2, last_s=max(one.last_s, break_s + 0.2), epoch="2")]
        elif one.camera_id == camera_id and one.last_s + 1.0 >= break_s:
            pieces = [replace(one, given_up_s=math.inf)]
        kept += pieces
        who.update({piece.key: person[one.key] for piece in pieces})
    return kept, who


def seen_twice_at_once(one, who):
    """Pairs of tracks of one camera that are one identity although two people were seen at one time.

    One person whom the tracker follows under two numbers for a moment is not two.
    """
    by_key = {track.key: track for track in one.walks}

    def are_one(a, b):
        shared_s = min(a.last_s, b.last_s) - max(a.first_s, b.first_s)
        return a.boxes is not None and one.person[a.key] == one.person[b.key] and shared_s <= 0.5

    return [pair for pair in twice_at_once(one.walks, who) if not are_one(*(by_key[key] for key in pair))]


def shuffled_in_time(rng, streams, most_s):
    """An order of arrival in which every message is late by at most so long, each stream in its own order."""
    arrivals = []
    for number, stream in enumerate(streams):
        arrived_s, delay_s = -math.inf, 0.0
        for place, message in enumerate(stream):
            if rng.random() < 0.1:
                delay_s = rng.random() * most_s
            arrived_s = max(arrived_s, message.at_s + delay_s)
            arrivals.append((arrived_s, number, place, message))
    return [arrival[3] for arrival in sorted(arrivals, key=lambda a: a[:3])]


def with_orders(rng, order, walks, many=4):
    """The same messages with an operator's orders in between, about ids and tracks that may be there or not."""
    result, operator = list(order), Operator()
    places = sorted(rng.randint(0, len(order)) for _ in range(rng.randint(1, many)))
    for shift, place in enumerate(places):
        result.insert(place + shift, _order(rng, operator, walks))
    return result


def _order(rng, operator, walks):
    one, other = rng.randint(1, 4), rng.randint(1, 4)
    kind = rng.choice(("rename", "merge", "merge", "split", "split", "forget"))
    if kind == "rename":
        return operator.rename(one, rng.choice(("Ada", None)))
    if kind == "merge":
        return operator.merge(one, other)
    if kind == "forget":
        return operator.forget(one)
    keys = [w.key for w in walks if rng.random() < 0.4]
    return operator.split(one, *keys, to_id=rng.choice((None, None, other)))
