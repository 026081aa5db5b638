"""The losses written out with plain loops in double precision: what the tests compare the project's code with."""

import math
from itertools import combinations

import numpy as np

NOBODY = -1


def unit(rows: np.ndarray) -> np.ndarray:
    out = rows.astype(np.float64).copy()
    for row in out:
        length = math.sqrt(sum(value * value for value in row))
        if length > 0:
            row /= length
    return out


def distance(a: np.ndarray, b: np.ndarray) -> float:
    return math.sqrt(sum((x - y) ** 2 for x, y in zip(a.tolist(), b.tolist(), strict=True)))


def plus(value: float) -> float:
    return max(value, 0.0)


def known(features: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, list[int]]:
    keep = [i for i, label in enumerate(labels.tolist()) if label != NOBODY]
    return features[keep].astype(np.float64), [int(labels[i]) for i in keep]


def mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else 0.0


def triplets(labels: list[int]) -> list[tuple[int, int, int]]:
    n = range(len(labels))
    return [(a, p, x) for a in n for p in n for x in n if a != p and labels[a] == labels[p] and labels[x] != labels[a]]


def contrastive(features: np.ndarray, labels: np.ndarray, margin: float) -> float:
    """y d² + (1 - y) (α - d)₊², positives and negatives averaged apart."""
    features, people = known(unit(features), labels)
    near, far = [], []
    for i, j in combinations(range(len(people)), 2):
        d = distance(features[i], features[j])
        (near if people[i] == people[j] else far).append(d**2 if people[i] == people[j] else plus(margin - d) ** 2)
    return mean(near) + mean(far)


def verification(features: np.ndarray, labels: np.ndarray, weight: np.ndarray, bias: float) -> float:
    """Softmax over two classes, "different" with logit 0 and "same" with that of the squared differences."""
    features, people = known(features, labels)
    same, different = [], []
    for i, j in combinations(range(len(people)), 2):
        z = bias + sum(w * (x - y) ** 2 for w, x, y in zip(weight, features[i], features[j], strict=True))
        shares = [1 / (1 + math.exp(z)), math.exp(z) / (1 + math.exp(z))]
        if people[i] == people[j]:
            same.append(-math.log(shares[1]))
        else:
            different.append(-math.log(shares[0]))
    return 0.5 * (mean(same) + mean(different))


def triplet(features: np.ndarray, labels: np.ndarray, margin: float, power: int = 1) -> float:
    features, people = known(unit(features), labels)
    return mean(
        [
            plus(distance(features[a], features[p]) ** power - distance(features[a], features[n]) ** power + margin)
            for a, p, n in triplets(people)
        ]
    )


def improved_triplet(features: np.ndarray, labels: np.ndarray, tau1: float, tau2: float, beta: float) -> float:
    features, people = known(unit(features), labels)
    values = []
    for a, p, n in triplets(people):
        d_ap, d_an = distance(features[a], features[p]), distance(features[a], features[n])
        values.append(max(d_ap - d_an, tau1) + beta * max(d_ap, tau2))
    return mean(values)


def quadruplet(features: np.ndarray, labels: np.ndarray, margins: tuple[float, float], power: int = 2) -> float:
    """a, p of one person; n1 and n2 of two others, each pair of negatives once."""
    features, people = known(unit(features), labels)
    strong = triplet(features, np.array(people), margins[0], power)
    n = range(len(people))
    weak = []
    for a, p in combinations(n, 2):
        if people[a] != people[p]:
            continue
        for n1, n2 in combinations(n, 2):
            if len({people[a], people[n1], people[n2]}) == 3:
                gap = distance(features[a], features[p]) ** power - distance(features[n1], features[n2]) ** power
                weak.append(plus(gap + margins[1]))
    return strong + mean(weak)


def trihard(features: np.ndarray, labels: np.ndarray, margin: float | None, normalise: bool = False) -> float:
    features, people = known(unit(features) if normalise else features, labels)
    values = []
    for a in range(len(people)):
        near = [distance(features[a], features[i]) for i in range(len(people)) if i != a and people[i] == people[a]]
        far = [distance(features[a], features[i]) for i in range(len(people)) if people[i] != people[a]]
        if near and far:
            gap = max(near) - min(far)
            values.append(math.log1p(math.exp(gap)) if margin is None else plus(gap + margin))
    return mean(values)


def msml(features: np.ndarray, labels: np.ndarray, margin: float) -> float:
    features, people = known(unit(features), labels)
    near, far = [], []
    for i, j in combinations(range(len(people)), 2):
        (near if people[i] == people[j] else far).append(distance(features[i], features[j]))
    return plus(max(near) - min(far) + margin) if near and far else 0.0


def identity(
    features: np.ndarray, labels: np.ndarray, weight: np.ndarray, smoothing: float, unlabelled_weight: float
) -> float:
    """-Σ_c q(c) log p(c), the weighted mean over rows."""
    classes = len(weight)
    total, weights = 0.0, 0.0
    for feature, label in zip(features.astype(np.float64), labels.tolist(), strict=True):
        logits = [float(np.dot(row, feature)) for row in weight.astype(np.float64)]
        top = max(logits)
        log_sum = top + math.log(sum(math.exp(z - top) for z in logits))
        if label == NOBODY:
            q, w = [1 / classes] * classes, unlabelled_weight
        else:
            q = [smoothing / classes + (1 - smoothing if c == label else 0.0) for c in range(classes)]
            w = 1.0
        total += -w * sum(share * (z - log_sum) for share, z in zip(q, logits, strict=True))
        weights += w
    return total / weights if weights else 0.0


def attributes(features: np.ndarray, labels: np.ndarray, layers: list[tuple[np.ndarray, np.ndarray]]) -> float:
    """1/M Σ_m of the mean cross-entropy of attribute m over the rows where it is known."""
    losses = []
    for m, (weight, bias) in enumerate(layers):
        values = []
        for feature, label in zip(features.astype(np.float64), labels[:, m].tolist(), strict=True):
            if label == NOBODY:
                continue
            logits = weight.astype(np.float64) @ feature + bias
            values.append(float(np.log(np.exp(logits).sum()) - logits[label]))
        losses.append(mean(values))
    return mean(losses)
