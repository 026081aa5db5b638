"""The index of candidates beside the rule that it follows, written out without an index."""

import itertools
import math
import random
import time

import pytest

from pipeline.config import TopologyConfig
from pipeline.identity.candidates import CandidateIndex, Reach

BESIDE_S, HERE_S, SINCE_S, FURTHER, KEPT = 10.0, 30.0, 60.0, 4.0, 3


def transit(a, b, low, high):
    return TopologyConfig(from_camera=a, to_camera=b, transit_s=(low, high))


def overlap(a, b, overlaps=True):
    return TopologyConfig(pair=(a, b), overlap=overlaps)


ROW = [transit("a", "b", 5, 20), transit("b", "c", 5, 20), transit("c", "d", 5, 20)]


class Slow:
    """Every identity is looked at for every question."""

    def __init__(self, rules, reach):
        self.reach, self.sights = reach, {}
        self.windows = {}
        for rule in rules:
            if rule.transit_s:
                self.windows[rule.from_camera, rule.to_camera] = rule.transit_s
        for a, b in list(self.windows):
            self.windows.setdefault((b, a), self.windows[a, b])
        for rule in rules:
            if rule.overlap:
                for pair in (rule.pair, rule.pair[::-1]):
                    high = max(BESIDE_S, self.windows.get(pair, (0, 0))[1])
                    self.windows[pair] = (-math.inf, high)

    def seen(self, identity_id, camera_id, at_s):
        sights = self.sights.setdefault(identity_id, {})
        sights[camera_id] = max(at_s, sights.get(camera_id, -math.inf))
        self.sights[identity_id] = dict(sorted(sights.items(), key=lambda s: (s[1], s[0]))[-KEPT:])

    def remove(self, identity_id):
        self.sights.pop(identity_id, None)

    def paths(self, camera_id):
        """Every way into the camera of at most `hops` rules: cameras from the far end on."""
        found, edge = [(camera_id,)], [(camera_id,)]
        for _ in range(self.reach.hops):
            edge = [(a, *path) for path in edge for a, b in self.windows if b == path[0] and a != camera_id]
            found += edge
        return found

    def window(self, path):
        windows = [self.windows[pair] for pair in itertools.pairwise(path)]
        low = -math.inf if all(math.isinf(w[0]) for w in windows) else sum(max(w[0], 0.0) for w in windows)
        return low, sum(w[1] for w in windows)

    def near(self, camera_id):
        """By camera: rules between, and the windows of the ways from it and to it."""
        near = {camera_id: (0, (-math.inf, HERE_S), (-math.inf, HERE_S))}
        for path in self.paths(camera_id)[1:]:
            hops, came, went = near.get(path[0], (len(path) - 1, None, None))
            hither, thither = self.window(path), self.window(path[::-1])
            near[path[0]] = (hops, self.either(came, hither), self.either(went, thither))
        return near

    @staticmethod
    def either(a, b):
        return b if a is None else (min(a[0], b[0]), max(a[1], b[1]))

    def wide(self, window):
        low, high = window
        by = max(self.reach.slack * (high - max(low, 0)), 1.0)
        return (low if math.isinf(low) else max(0.0, low - by)), high + by

    def came(self, window, at_s, first_s, last_s):
        low, high = self.wide(window)
        return first_s - high <= at_s <= (last_s if math.isinf(low) else first_s - low)

    def went(self, window, at_s, last_s):
        low, high = self.wide(window)
        return last_s + (0 if math.isinf(low) else low) <= at_s <= last_s + high

    def candidates(self, camera_id, first_s, last_s):
        if len(self.sights) <= self.reach.most:
            return sorted(self.sights)
        near = self.near(camera_id)
        placed = any(camera_id in pair for pair in self.windows)
        in_time, others = [], []
        for identity_id, sights in self.sights.items():
            last, where = max((at, c) for c, at in sights.items())
            if not placed:
                others.append((abs(last_s - last), identity_id))
                continue
            times = [abs(last_s - t) for t in self.times(near, sights, last, where, first_s, last_s)]
            in_time += [(t, identity_id) for t in times]
            if where in near:
                hops, came, _ = near[where]
                from_s = last_s if math.isinf(came[0]) else first_s - came[0]
                others.append((FURTHER**hops * abs(from_s - last), identity_id))
            elif not any(where in pair for pair in self.windows):
                others.append((abs(last_s - last), identity_id))
        chosen = []
        for _, identity_id in [*sorted(in_time), *sorted(others)]:
            if identity_id not in chosen:
                chosen.append(identity_id)
        return sorted(chosen[: self.reach.most])

    def times(self, near, sights, last, where, first_s, last_s):
        """The sights of one identity that are in time."""
        found = []
        close = {c: w for c, w in near.items() if w[0] <= 1}
        if where in close:
            _, came, went = close[where]
            if self.came(came, last, first_s, last_s) or self.went(went, last, last_s):
                found.append(last)
        if where in near and first_s <= last <= last_s + SINCE_S:
            found += [t for c, t in sights.items() if c in close and self.came(close[c][1], t, first_s, last_s)]
        return found


def ask(index, *question):
    return list(index.candidates(*question))


def test_nobody_known_gives_no_candidates():
    assert ask(CandidateIndex(ROW, "abcd"), "a", 0.0, 1.0) == []


def test_while_few_are_known_everybody_is_a_candidate_wherever_they_were_seen():
    index = CandidateIndex(ROW, ["a", "b", "c", "d", "far"], Reach(most=3))
    index.seen(7, "far", 0.0)
    index.seen(3, "d", 5000.0)
    index.seen(5, "a", 1.0)
    assert ask(index, "a", 6000.0, 6001.0) == [3, 5, 7]


def test_without_topology_those_seen_last_are_candidates():
    index = CandidateIndex((), ("a", "b"), Reach(most=2))
    for identity_id, at_s in ((1, 30.0), (2, 10.0), (3, 20.0)):
        index.seen(identity_id, "a", at_s)
    assert ask(index, "b", 40.0, 41.0) == [1, 3]
    index.seen(2, "b", 39.0)
    assert ask(index, "b", 40.0, 41.0) == [1, 2]
    assert ask(index, "nobody heard of this camera", 40.0, 41.0) == [1, 2]


def test_who_is_in_time_comes_before_who_was_seen_more_recently():
    index = CandidateIndex(ROW, "abcd", Reach(most=1, slack=0.0))
    index.seen(1, "a", 80.0)  # 20 s before: in the window from a to b
    index.seen(2, "b", 60.0)  # 40 s before, in this camera
    index.seen(3, "c", 99.5)  # too near in time for the way from c
    assert ask(index, "b", 100.0, 101.0) == [1]


def test_a_time_outside_of_every_window_is_not_vetoed():
    index = CandidateIndex(ROW, "abcd", Reach(most=1))
    index.seen(1, "a", 0.0)
    index.seen(2, "d", 3599.9)  # three rules from a: not near
    assert ask(index, "a", 3600.0, 3601.0) == [1]
    assert ask(index, "b", 3600.0, 3601.0) == [2]  # two rules away, and just now
    index.remove(2)
    index.seen(3, "d", 3600.0)
    assert ask(index, "a", 3600.0, 3601.0) == [1]


def test_somebody_whom_the_camera_between_missed_is_a_candidate():
    index = CandidateIndex(ROW, "abcd", Reach(most=1))
    index.seen(1, "a", 75.0)
    index.seen(2, "d", 0.0)
    assert ask(index, "c", 100.0, 101.0) == [1]


def test_a_rule_for_one_direction_tells_of_the_other():
    index = CandidateIndex([transit("a", "b", 5, 20)], "ab", Reach(most=1))
    index.seen(1, "b", 90.0)
    index.seen(2, "b", 10.0)
    assert ask(index, "a", 100.0, 101.0) == [1]


def test_who_is_seen_now_in_an_overlapping_camera_is_a_candidate():
    index = CandidateIndex([*ROW, overlap("b", "x")], "abcdx", Reach(most=2))
    index.seen(1, "x", 101.0)
    index.seen(2, "x", 500.0)
    index.seen(3, "b", 100.5)
    index.seen(4, "d", 100.9)
    assert ask(index, "b", 100.0, 101.0) == [1, 3]


def test_a_pair_that_does_not_overlap_says_nothing_of_where_people_come_from():
    index = CandidateIndex([overlap("a", "b", False)], "ab", Reach(most=1))
    index.seen(1, "a", 10.0)
    index.seen(2, "b", 20.0)
    assert ask(index, "a", 30.0, 31.0) == [2]  # as without topology


def test_a_camera_that_is_not_placed_may_lead_anywhere():
    index = CandidateIndex(ROW, [*"abcd", "yard"], Reach(most=1))
    index.seen(1, "yard", 99.0)
    index.seen(2, "a", 10.0)
    assert ask(index, "d", 100.0, 101.0) == [1]
    assert ask(index, "yard", 12.0, 13.0) == [2]


def test_a_track_may_be_somebody_who_was_seen_elsewhere_since():
    index = CandidateIndex(ROW, "abcd", Reach(most=1))
    index.seen(1, "a", 90.0)
    index.seen(2, "c", 60.0)
    index.seen(1, "c", 112.0)  # its person has walked on before the track in b is decided
    assert ask(index, "b", 100.0, 102.0) == [1]


def test_of_the_same_sights_in_any_order_the_same_is_known():
    sights = [(1, "a", 10.0), (1, "b", 20.0), (1, "c", 30.0), (1, "d", 40.0), (1, "a", 50.0), (2, "b", 45.0)]
    answers = set()
    for seed in range(20):
        index = CandidateIndex(ROW, "abcd", Reach(most=1))
        for sight in random.Random(seed).sample(sights, len(sights)):
            index.seen(*sight)
        answers.add(tuple(tuple(ask(index, c, t, t + 1)) for c in "abcd" for t in (15.0, 35.0, 55.0)))
    assert len(answers) == 1


def test_a_removed_identity_is_gone_and_may_be_seen_again():
    index = CandidateIndex(ROW, "abcd")
    index.seen(1, "a", 10.0)
    index.seen(1, "b", 20.0)
    index.remove(1)
    index.remove(1)
    assert len(index) == 0 and ask(index, "a", 10.0, 11.0) == []
    index.seen(1, "b", 15.0)
    assert ask(index, "a", 10.0, 11.0) == [1]


def test_a_reach_that_reaches_nobody_is_refused():
    for wrong in ({"most": 0}, {"hops": -1}, {"slack": -0.1}):
        with pytest.raises(ValueError, match="expected most"):
            Reach(**wrong)


@pytest.mark.parametrize("seed", range(12))
def test_the_index_answers_as_if_it_looked_at_everybody(seed):
    rng = random.Random(seed)
    cameras = [f"c{i}" for i in range(9)]
    rules = []
    for a, b in rng.sample([(a, b) for a in cameras[:7] for b in cameras[:7] if a != b], 8):
        low = rng.choice([0.0, 3.0, 20.0])
        if not any({a, b} == {r.from_camera, r.to_camera} or (r.pair and {a, b} == {*r.pair}) for r in rules):
            rules.append(
                overlap(a, b) if rng.random() < 0.3 else transit(a, b, low, low + rng.choice([0.0, 10.0, 60.0]))
            )
    reach = Reach(most=rng.choice([1, 5, 20]), hops=rng.choice([0, 1, 2, 3]), slack=rng.choice([0.0, 0.5]))
    index, slow = CandidateIndex(rules, cameras, reach), Slow(rules, reach)
    now_s = 0.0
    for _ in range(1500):
        now_s += rng.expovariate(0.5)
        identity_id, camera_id = rng.randrange(1, 80), rng.choice(cameras)
        if rng.random() < 0.05:
            index.remove(identity_id)
            slow.remove(identity_id)
        else:
            at_s = now_s - rng.choice([0.0, 0.0, rng.uniform(0, 300)])
            index.seen(identity_id, camera_id, at_s)
            slow.seen(identity_id, camera_id, at_s)
        if rng.random() < 0.2:
            first_s = now_s - rng.choice([2.0, rng.uniform(0, 500)])
            question = (rng.choice(cameras), first_s, first_s + rng.uniform(0, 20))
            assert ask(index, *question) == slow.candidates(*question)
    assert len(index) == len(slow.sights)


def test_a_question_costs_the_same_among_ten_times_as_many():
    spent_s = {}
    for people in (2000, 20000):
        cameras = [f"c{i}" for i in range(people // 100)]  # of equal density
        rules = [transit(a, b, 5, 40) for a, b in itertools.pairwise(cameras)]
        index = CandidateIndex(rules, cameras)
        rng = random.Random(0)
        for identity_id in range(1, people + 1):
            index.seen(identity_id, rng.choice(cameras), rng.uniform(0, 3600))
        questions = rng.sample(cameras, 20)
        rounds = []
        for _ in range(9):
            began_s = time.perf_counter()
            assert all(50 <= len(index.candidates(c, 3600.0, 3602.0)) <= 100 for c in questions)
            rounds.append(time.perf_counter() - began_s)
        spent_s[people] = min(rounds)
    assert spent_s[20000] < 4 * spent_s[2000]
