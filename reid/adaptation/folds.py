"""Parts of the footage that share no person, as far as that is certain, for cross-validation."""

from collections import defaultdict

import numpy as np

from pipeline.types import IntArray
from reid.adaptation.material import Material

FOLDS = 4


def person_folds(material: Material, folds: int = FOLDS) -> list[IntArray]:
    """Numbers to be held back together, at most `folds` groups without a common number; each keeps pairs apart.

    People who were seen together are held back together where they are few enough, else cut in order of time, because
    only a pair both of whom are held back can be judged. Who is apart from nobody is in no group. A group without a
    pair is joined to another. Where that leaves one group (somebody was there all the time, and nearly all pairs are
    with them), groups are grown from pairs instead. Deterministic.

    Returns:
        Fewer groups where there are not so many pairs without a common number; none without any pair.
    """
    order = _in_order_of_time(material)
    present = {int(number) for number in material.people}
    near = _neighbours(material, present)
    concerned = sorted(near, key=lambda number: order[number])
    if not concerned:
        return []
    pieces = _pieces(concerned, near, -(-len(concerned) // folds))
    weighed = sorted(((_pairs(piece, near), piece) for piece in pieces), key=lambda x: (-x[0], order[x[1][0]]))
    groups: list[list[int]] = [[] for _ in range(folds)]
    weight = [0] * folds
    for pairs, piece in weighed:
        lightest = min(range(folds), key=lambda i: (weight[i], len(groups[i]), i))
        groups[lightest] += piece
        weight[lightest] += pairs
    good = _with_pairs(groups, near)
    return good if len(good) > 1 else _sorted_groups(_grown_from_pairs(concerned, near, folds))


def _in_order_of_time(material: Material) -> dict[int, tuple[str, float, int]]:
    first: dict[int, tuple[str, float, int]] = {}
    for track, person in zip(material.tracks, material.person_of.tolist(), strict=True):
        at = (track.key.camera_id, float(track.captured_at_s[0]), person)
        first[person] = min(first.get(person, at), at)
    return first


def _neighbours(material: Material, present: set[int]) -> dict[int, set[int]]:
    near: dict[int, set[int]] = defaultdict(set)
    for a, b in material.apart:
        if a in present and b in present:
            near[a].add(b)
            near[b].add(a)
    return near


def _pieces(concerned: list[int], near: dict[int, set[int]], most: int) -> list[list[int]]:
    """Connected groups; larger ones than `most` are cut in the order given."""
    rank = {number: i for i, number in enumerate(concerned)}
    left = set(concerned)
    pieces = []
    for number in concerned:
        if number not in left:
            continue
        reached, open_ends = {number}, [number]
        while open_ends:
            new = near[open_ends.pop()] - reached
            reached |= new
            open_ends += new
        left -= reached
        group = sorted(reached, key=rank.__getitem__)
        cuts = -(-len(group) // most)
        pieces += [[int(n) for n in part] for part in np.array_split(np.array(group, np.int64), cuts)]
    return pieces


def _pairs(group: list[int], near: dict[int, set[int]]) -> int:
    inside = set(group)
    return sum(len(near[number] & inside) for number in group) // 2


def _with_pairs(groups: list[list[int]], near: dict[int, set[int]]) -> list[IntArray]:
    good = [group for group in groups if _pairs(group, near)]
    rest = [number for group in groups if not _pairs(group, near) for number in group]
    if good and rest:
        good[min(range(len(good)), key=lambda i: len(good[i]))] += rest
    elif rest:
        good = [rest]
    return _sorted_groups(good)


def _grown_from_pairs(concerned: list[int], near: dict[int, set[int]], folds: int) -> list[list[int]]:
    """Groups that begin with pairs without a common number; everybody else joins the smallest one with a neighbour."""
    groups: list[list[int]] = []
    for i, pair in enumerate(_separate_pairs(concerned, near)):
        if i < folds:
            groups.append([])
        groups[i % folds] += pair
    taken = {number for group in groups for number in group}
    for number in concerned:
        if number not in taken:
            beside = [group for group in groups if near[number] & set(group)]
            min(beside, key=len).append(number)
    return groups


def _separate_pairs(concerned: list[int], near: dict[int, set[int]]) -> list[list[int]]:
    """Pairs without a common number until no more are left, first of numbers in few pairs.

    Two at least wherever there are two: a pair that meets all others has more neighbours than one of those.
    """
    rank = {number: i for i, number in enumerate(concerned)}
    pairs = [(a, b) for a in concerned for b in near[a] if rank[a] < rank[b]]
    pairs.sort(key=lambda pair: (len(near[pair[0]]) + len(near[pair[1]]), rank[pair[0]], rank[pair[1]]))
    taken: set[int] = set()
    chosen = []
    for a, b in pairs:
        if not taken & {a, b}:
            taken |= {a, b}
            chosen.append([a, b])
    return chosen


def _sorted_groups(groups: list[list[int]]) -> list[IntArray]:
    return [np.array(sorted(group), np.int64) for group in groups]
