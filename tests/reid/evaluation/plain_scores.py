"""Retrieval figures one query and one entry at a time, each as its authors define it; only the standard library.

Equal distances are taken in the order of the gallery, as `pipeline.retrieval` promises.
"""


def ranking(distance, query, gallery):
    """Whether each entry is a match, nearest first, junk left out. Labels are (person, camera)."""
    kept = []
    for place, label in enumerate(gallery):
        person, camera = label
        if person == -1 or (person == query[0] and camera == query[1]):
            continue
        kept.append((distance[place], place, person == query[0]))
    return [match for _, _, match in sorted(kept)]


def area_by_steps(matches):
    """Average precision as information retrieval has it: precision x step of recall (rectangle)."""
    wanted, area, recall = sum(matches), 0.0, 0.0
    for cut in range(1, len(matches) + 1):
        found = sum(matches[:cut])
        area += (found / cut) * (found / wanted - recall)
        recall = found / wanted
    return area


def area_by_trapezoids(matches):
    """Average precision as the programs that came with Market-1501 and MARS have it: trapezoids below the curve."""
    wanted, area, recall, precision = sum(matches), 0.0, 0.0, 1.0
    for cut in range(1, len(matches) + 1):
        found = sum(matches[:cut])
        area += (found / wanted - recall) * (precision + found / cut) / 2
        recall, precision = found / wanted, found / cut
    return area


def negative_penalty(matches):
    """NP of Ye et al. (TPAMI 2021): how many wrong entries stand before the hardest match, as a share of its rank."""
    hardest = max(rank for rank, match in enumerate(matches, start=1) if match)
    return (hardest - sum(matches)) / hardest


def plain_figures(distance, query, gallery, ranks=(1, 5, 10, 20)):
    """The figures of `reid.evaluation.figures`; None without a query that has a match."""
    lists = [ranking(row, label, gallery) for row, label in zip(distance, query, strict=True)]
    lists = [matches for matches in lists if any(matches)]
    names = [*(f"rank{rank}" for rank in ranks), "mAP", "mAP_trapezoid", "mINP"]
    if not lists:
        return dict.fromkeys(names)

    def mean(values):
        values = list(values)
        return sum(values) / len(values)

    figures = {f"rank{rank}": mean(any(matches[:rank]) for matches in lists) for rank in ranks}
    figures["mAP"] = mean(map(area_by_steps, lists))
    figures["mAP_trapezoid"] = mean(map(area_by_trapezoids, lists))
    figures["mINP"] = mean(1 - negative_penalty(matches) for matches in lists)
    return figures
