"""k-reciprocal re-ranking written out set by set, from the paper's definitions, as the authors' program settles them.

Sets and loops over members only, in double precision: nothing in common with `reid.rerank` but the definitions.
"""

import math


def plain_rerank(query, gallery, k1=20, k2=6, original_share=0.3):
    """Final distances, a list of rows, of unit vectors."""
    pool = [[float(v) for v in row] for row in [*query, *gallery]]
    n = len(pool)
    distance = [[min(2.0, max(0.0, 1 - sum(a * b for a, b in zip(p, g, strict=True)))) for g in pool] for p in pool]
    # d: shares of the largest distance of the vector that asks
    shares = [[d / (max(row) or 1.0) for d in row] for row in distance]
    # N(p, k): the vector itself, and then by distance, equal ones in order of the pool
    nearest = [sorted(range(n), key=lambda j: (j != i, distance[i][j], j)) for i in range(n)]

    def reciprocal(p, k):
        """R(p, k): g in N(p, k) with p in N(g, k); the vector itself is no neighbour in the paper, so one more here."""
        return {g for g in nearest[p][: k + 1] if p in nearest[g][: k + 1]}

    weights = []
    for p in range(n):
        own = reciprocal(p, k1)
        expanded = set(own)
        for q in own:
            candidate = reciprocal(q, round(k1 / 2))
            if 3 * len(own & candidate) > 2 * len(candidate):
                expanded |= candidate
        gauss = {g: math.exp(-shares[p][g]) for g in expanded}
        total = sum(gauss.values())
        weights.append({g: value / total for g, value in gauss.items()})

    averaged = []
    for p in range(n):
        near = nearest[p][:k2]
        averaged.append({g: sum(weights[q].get(g, 0.0) for q in near) / len(near) for g in range(n)})

    final = []
    for p in range(len(query)):
        row = []
        for g in range(len(query), n):
            least = sum(min(averaged[p][j], averaged[g][j]) for j in range(n))
            most = sum(max(averaged[p][j], averaged[g][j]) for j in range(n))
            row.append((1 - original_share) * (1 - least / most) + original_share * shares[p][g])
        final.append(row)
    return final
