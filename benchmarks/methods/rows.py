"""The rows of the tables: which recipe stands behind each name."""

from dataclasses import dataclass

from reid.training.reading import parse_recipe
from reid.training.recipe import Recipe

# A trained network goes on learning, its batch norms as they are: 2,900 crops a run, seconds on a CPU.
_TUNING = """
pictures: {{height_px: 128, width_px: 64, readers: 0}}
batch: {{people: 12, tracklets: 4, frames: 1, sampling: restricted}}
augment: {{flip: 0.5, erase: 0.3, jitter: 0.2, camera_style: 0.5}}
model: {{backbone: osnet_x0_25, weights: {weights}, keep_norms: true, head: {head}}}
losses: [{losses}]
schedule: {{rate: 0.0002, epochs: {epochs}, milestones: [{milestone}]}}
run: {{tensorboard: false, save_every_steps: 100000}}
"""

# Only the head learns, over crop features of the network as it is.
_FROZEN = """
pictures: {{height_px: 256, width_px: 128, readers: 0}}
batch: {{people: 12, tracklets: 4, frames: 8, sampling: restricted}}
model: {{backbone: osnet_x0_25, weights: {weights}, freeze: true, head: {head}}}
losses: [{losses}]
schedule: {{rate: 0.0005, epochs: {epochs}, milestones: [{milestone}]}}
run: {{tensorboard: false, save_every_steps: 100000}}
"""

_IDENTITY = "{name: identity, smoothing: 0.1}"
_TRIHARD = "{name: trihard, margin: 0.3, normalise: true}"
_METRIC = {
    "contrastive": "{name: contrastive}",
    "verification": "{name: verification}",
    "triplet": "{name: triplet, margin: 0.3}",
    "improved triplet": "{name: improved_triplet}",
    "quadruplet": "{name: quadruplet}",
    "TriHard": _TRIHARD,
    "TriHard, soft margin": "{name: trihard, margin: null, normalise: false}",
    "MSML": "{name: msml, margin: 0.3}",
}
_WITH_IDENTITY = ("contrastive", "triplet", "quadruplet", "TriHard", "MSML")
_CLAIMED = ("identity", "triplet", "quadruplet", "TriHard", "MSML", "identity + TriHard")  # the notes' order


@dataclass(frozen=True, slots=True)
class Length:
    """How long a run trains, in epochs; of that the last third at a tenth of the rate."""

    tuning: int = 16
    frozen: int = 60


def _losses() -> dict[str, str]:
    rows = {"identity": _IDENTITY, **_METRIC}
    return rows | {f"identity + {name}": f"{_IDENTITY}, {_METRIC[name]}" for name in _WITH_IDENTITY}


def loss_rows(weights: str, length: Length) -> dict[str, Recipe]:
    """Each loss alone, and the notes' ones beside identity, teaching a layer over a frozen network."""
    head = "{name: mean, stripes: 4, dimensions: 256}"
    return {name: _on_frozen(weights, head, losses, length) for name, losses in _losses().items()}


def tuning_rows(weights: str, length: Length) -> dict[str, Recipe]:
    """The losses that the notes put in an order, teaching the whole network."""
    losses = _losses()
    return {name: _tuned(weights, "{name: plain, stripes: 8}", losses[name], length) for name in _CLAIMED}


def head_rows(weights: str, length: Length) -> dict[str, Recipe]:
    """Each clip head, over a frozen network."""
    layer = "dimensions: 512"  # the recurrent heads have one as they are: without, they would be compared for that
    heads = {
        "mean, no layer": "{name: mean, stripes: 4}",
        "mean": f"{{name: mean, stripes: 4, {layer}}}",
        "STA (P1 + P2)": f"{{name: sta, stripes: 4, fusion: paper, {layer}}}",
        "STA (P2)": f"{{name: sta, stripes: 4, fusion: global, {layer}}}",
        "temporal attention": f"{{name: temporal, stripes: 4, {layer}}}",
        "quality": f"{{name: quality, stripes: 4, {layer}}}",
        "RNN over frames": "{name: rnn, stripes: 4}",
        "LSTM over stripes": "{name: lstm, stripes: 4}",
        "STGCN": "{name: stgcn, stripes: 4}",
        "STGCN, residual": "{name: stgcn, stripes: 4, residual: true}",
    }
    losses = f"{_IDENTITY}, {_TRIHARD}"
    return {name: _on_frozen(weights, head, losses, length) for name, head in heads.items()}


def part_rows(weights: str, length: Length) -> dict[str, Recipe]:
    """Heads that look at parts of the body, and the plain one that does not."""
    own = "{name: own}"
    rows = {
        "plain": _tuned(weights, "{name: plain, stripes: 8}", f"{_IDENTITY}, {_TRIHARD}", length),
        "PCB": _tuned(weights, "{name: pcb, stripes: 4}", own, length),
        "ICNN": _tuned(weights, "{name: icnn, stripes: 4}", own, length),
        "AlignedReID++": _tuned(weights, "{name: aligned_reid, stripes: 8}", own, length),
        "SCPNet": _tuned(weights, "{name: scpnet, stripes: 4}", own, length),
    }
    return rows


def _tuned(weights: str, head: str, losses: str, length: Length) -> Recipe:
    epochs, milestone = length.tuning, 2 * length.tuning // 3
    return parse_recipe(_TUNING.format(weights=weights, head=head, losses=losses, epochs=epochs, milestone=milestone))


def _on_frozen(weights: str, head: str, losses: str, length: Length) -> Recipe:
    epochs, milestone = length.frozen, 2 * length.frozen // 3
    return parse_recipe(_FROZEN.format(weights=weights, head=head, losses=losses, epochs=epochs, milestone=milestone))
