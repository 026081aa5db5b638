"""The part heads written out, picture by picture, in double precision; maps are (C, H, W)."""

import numpy as np


def unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector)


def stripe(picture: np.ndarray, stripes: int, k: int) -> np.ndarray:
    rows = picture.shape[1] // stripes
    return picture[:, k * rows : (k + 1) * rows]


def stripe_means(picture: np.ndarray, stripes: int) -> np.ndarray:
    return np.stack([stripe(picture, stripes, k).mean(axis=(1, 2)) for k in range(stripes)])


def batch_norm(vector: np.ndarray, w: dict[str, np.ndarray], name: str) -> np.ndarray:
    scaled = (vector - w[f"{name}.running_mean"]) / np.sqrt(w[f"{name}.running_var"] + 1e-5)
    return scaled * w[f"{name}.weight"] + w[f"{name}.bias"]


def pcb_reduced(means: np.ndarray, w: dict[str, np.ndarray]) -> np.ndarray:
    """h_k of each g_k."""
    reduced = [batch_norm(w[f"local.{k}.0.weight"] @ g, w, f"local.{k}.1") for k, g in enumerate(means)]
    return np.maximum(np.stack(reduced), 0)


def refined_means(picture: np.ndarray, w: dict[str, np.ndarray]) -> np.ndarray:
    """RPP: each cell's share in each part is a softmax; the weighted mean over all cells."""
    layer = w["part_of.weight"][:, :, 0, 0]
    totals, weights = np.zeros((len(layer), len(picture))), np.zeros(len(layer))
    for h in range(picture.shape[1]):
        for x in range(picture.shape[2]):
            cell = picture[:, h, x]
            grown = np.exp(layer @ cell - (layer @ cell).max())
            for k, share in enumerate(grown / grown.sum()):
                totals[k] += share * cell
                weights[k] += share
    return totals / weights[:, None]


def aligned_local(picture: np.ndarray, w: dict[str, np.ndarray], stripes: int) -> np.ndarray:
    """Largest values of each stripe, batch norm, ReLU, layer, norm 1."""
    local = []
    for k in range(stripes):
        strongest = stripe(picture, stripes, k).max(axis=(1, 2))
        normed = np.maximum(batch_norm(strongest, w, "local_norm"), 0)
        local.append(unit(w["local.weight"] @ normed + w["local.bias"]))
    return np.stack(local)


def scpnet_groups(picture: np.ndarray, w: dict[str, np.ndarray], stripes: int) -> np.ndarray:
    whole = picture.mean(axis=(1, 2))
    return np.stack([batch_norm(w[f"groups.{r}.weight"] @ whole, w, f"norms.{r}") for r in range(stripes)])
