"""What is known of named weights: where they live, under which licence, and at what distance their matches end.

Plain values; nothing here reads files or the network.
"""

from dataclasses import dataclass
from typing import Literal

from pipeline.errors import ConfigError

Runtime = Literal["torch", "onnx", "openvino", "ultralytics"]

_ZOO = "https://kaiyangzhou.github.io/deep-person-reid/MODEL_ZOO"
_OSNET_HOME = "https://huggingface.co/kaiyangzhou/osnet/resolve/main/"
_OSNET_ENDING = "_msmt17_combineall_256x128_amsgrad_ep150_stp60_lr0.0015_b64_fb10_softmax_labelsmooth_flip_jitter.pth"
_ASSETS = "https://github.com/ultralytics/assets/releases/download/v8.3.0/"


@dataclass(frozen=True, slots=True)
class WeightsFile:
    """One file (or folder) under which a model is known.

    Attributes:
        name: what it is called on disk.
        sha256: of its content; None where it is not known. A download must agree with it.
        url: where it can be fetched without a login; None where there is no such place.
    """

    name: str
    sha256: str | None = None
    url: str | None = None


@dataclass(frozen=True, slots=True)
class NamedWeights:
    """A model by name.

    Attributes:
        files: in order of preference when several are at hand; the first with a `url` is what is fetched.
        home: page to read about it.
        makes: for files without a `url`, how to get one.
    """

    name: str
    what: str
    licence: str
    home: str
    files: tuple[WeightsFile, ...]
    makes: str = ""


@dataclass(frozen=True, slots=True)
class Threshold:
    """The largest cosine distance at which a track is still an identity, for one model and head.

    Attributes:
        origin: the footage it was chosen on and the error rates found where that footage was left out.
        provisional: chosen on generated people only.
    """

    distance: float
    origin: str
    provisional: bool = False


def _osnet(backbone: str, what: str) -> NamedWeights:
    """An OSNet of torchreid's zoo whose files' sums are not known here."""
    return NamedWeights(
        f"{backbone}_msmt17",
        f"person re-ID, {what}, 512 values",
        "MIT (torchreid); trained on MSMT17, which is for research only",
        _ZOO,
        (
            WeightsFile(f"{backbone}_msmt17.safetensors"),
            WeightsFile(f"{backbone}_msmt17.onnx"),
            WeightsFile(f"{backbone}_msmt17.pth", None, _OSNET_HOME + backbone + _OSNET_ENDING),
            WeightsFile(backbone + _OSNET_ENDING),
            WeightsFile(f"{backbone}_msmt17.pt"),
        ),
    )


CATALOGUE: tuple[NamedWeights, ...] = (
    NamedWeights(
        "osnet_x0_25_msmt17",
        "person re-ID, OSNet x0.25 trained on MSMT17, 0.2 M parameters, 512 values",
        "MIT (torchreid); trained on MSMT17, which is for research only",
        _ZOO,
        (
            WeightsFile("osnet_x0_25_msmt17.safetensors"),
            WeightsFile("osnet_x0_25_msmt17.onnx", "bb2267b23a64675f67bffc3177b7319e3a08de56041d153562c0206699634bce"),
            WeightsFile(
                "osnet_x0_25_msmt17.pth",
                "cf55163d78fc44c62c82f85ab62d39f10438679b5abe8c698ae08cfa84aa6e18",
                _OSNET_HOME + "osnet_x0_25" + _OSNET_ENDING,
            ),
            WeightsFile("osnet_x0_25" + _OSNET_ENDING),
            WeightsFile("osnet_x0_25_msmt17.pt"),
        ),
        makes="an ONNX export (`run_pipeline.py export`) runs several times as fast on a CPU",
    ),
    _osnet("osnet_x0_5", "OSNet x0.5 trained on MSMT17, 0.6 M parameters"),
    _osnet("osnet_x0_75", "OSNet x0.75 trained on MSMT17, 1.3 M parameters"),
    _osnet("osnet_x1_0", "OSNet x1.0 trained on MSMT17, 2.2 M parameters"),
    NamedWeights(
        "resnet50_msmt17",
        "person re-ID, ResNet-50 trained on MSMT17 (torchreid), 23.5 M parameters, 2048 values",
        "MIT (torchreid); trained on MSMT17, which is for research only",
        _ZOO,
        (
            WeightsFile("resnet50_msmt17.safetensors"),
            WeightsFile("resnet50_msmt17.pth"),
            WeightsFile("resnet50_msmt17.pt"),
        ),
        makes="download it by hand from the model zoo (its home asks for a click)",
    ),
    NamedWeights(
        "resnet50_imagenet",
        "ResNet-50 trained on ImageNet, to start training from; not for matching people",
        "BSD-3-Clause (torchvision); trained on ImageNet, which is for research only",
        "https://docs.pytorch.org/vision/stable/models/generated/torchvision.models.resnet50.html",
        (
            WeightsFile(
                "resnet50-11ad3fa6.pth",
                "11ad3fa62ca79e40addfd354a8ec4b7c75143b3038b8d2a807fbc68deab379ca",
                "https://download.pytorch.org/models/resnet50-11ad3fa6.pth",
            ),
        ),
    ),
    NamedWeights(
        "yolo11n",
        "person detector, YOLO11n trained on COCO",
        "AGPL-3.0 (Ultralytics)",
        "https://docs.ultralytics.com/models/yolo11/",
        (
            WeightsFile(
                "yolo11n.pt",
                "0ebbc80d4a7680d14987a577cd21342b65ecfd94632bd9a8da63ae6417644ee1",
                _ASSETS + "yolo11n.pt",
            ),
            WeightsFile("yolo11n.onnx"),
            WeightsFile("yolo11n_openvino_model"),
        ),
    ),
    NamedWeights(
        "yolo11n_int8_openvino_model",
        "person detector, YOLO11n for OpenVINO in int8: about 20 ms a frame on 2 cores",
        "AGPL-3.0 (Ultralytics)",
        "https://docs.ultralytics.com/integrations/openvino/",
        (WeightsFile("yolo11n_int8_openvino_model"),),
        makes="make it from yolo11n.pt: yolo export model=yolo11n.pt format=openvino int8=True",
    ),
    NamedWeights(
        "yolo11n-seg",
        "person segmenter, YOLO11n-seg trained on COCO: cleaner masks in reference frames",
        "AGPL-3.0 (Ultralytics)",
        "https://docs.ultralytics.com/tasks/segment/",
        (WeightsFile("yolo11n-seg.pt", None, _ASSETS + "yolo11n-seg.pt"),),
    ),
)

# What a backbone of the configuration uses when `reid.weights` is null.
USUAL_WEIGHTS: dict[str, str] = {
    "osnet_x0_25": "osnet_x0_25_msmt17",
    "osnet_x0_5": "osnet_x0_5_msmt17",
    "osnet_x0_75": "osnet_x0_75_msmt17",
    "osnet_x1_0": "osnet_x1_0_msmt17",
    "resnet50": "resnet50_msmt17",
}

# Channels of the backbones' last map; tells a file of another network.
MAP_CHANNELS: dict[str, int] = {
    "osnet_x0_25": 128,
    "osnet_x0_5": 256,
    "osnet_x0_75": 384,
    "osnet_x1_0": 512,
    "resnet50": 2048,
}

# (model, head) -> threshold; benchmarks/bench_thresholds.py prints them. A model without an entry needs `fit-site`.
_REAL = (
    "benchmarks/bench_thresholds.py with SHA-256 bb2267b2..., tracks against stays as the matcher compares them, on a "
    "detector's and on true boxes, a false link counted twice; lab4cam, pets_s2l1_view1, one_by_one, each left out in "
    "turn: missed {missed}, false {false}"
)
_GENERATED = (
    "benchmarks/bench_thresholds.py --handcrafted, generated people only, with OpenCV's detector and on true boxes; "
    "on real footage it does not tell people in similar clothes apart"
)


def _measured(distance: float, missed: str, false: str) -> Threshold:
    return Threshold(distance, _REAL.format(missed=missed, false=false))


THRESHOLDS: dict[tuple[str, str], Threshold] = {
    ("osnet_x0_25_msmt17", "sta-aligned@1b053420+quality"): _measured(0.525, ".08 .19 .13", ".29 .01 .06"),
    ("osnet_x0_25_msmt17", "sta-aligned@1b053420"): _measured(0.515, ".09 .22 .13", ".20 .01 .06"),
    ("osnet_x0_25_msmt17", "sta-global"): _measured(0.36, ".05 .60 .13", ".56 .00 .06"),
    ("osnet_x0_25_msmt17", "mean"): _measured(0.36, ".11 .55 .13", ".45 .00 .06"),
    ("osnet_x0_25_msmt17", "sta-stripes"): _measured(0.35, ".13 .52 .21", ".63 .00 .05"),
    ("osnet_x0_25_msmt17", "sta-paper"): _measured(0.39, ".06 .78 .13", ".61 .00 .06"),
    ("osnet_x0_25_msmt17", "sta-discriminative"): _measured(0.385, ".07 .87 .13", ".62 .00 .06"),
    ("handcrafted", "sta-global"): Threshold(0.27, _GENERATED, provisional=True),
    ("handcrafted", "mean"): Threshold(0.275, _GENERATED, provisional=True),
    ("handcrafted", "sta-stripes"): Threshold(0.285, _GENERATED, provisional=True),
    ("handcrafted", "sta-paper"): Threshold(0.31, _GENERATED, provisional=True),
    ("handcrafted", "sta-discriminative"): Threshold(0.325, _GENERATED, provisional=True),
}


def find_named(name: str) -> NamedWeights | None:
    """The entry of that name, or the one that knows a file of that name (with or without its ending)."""
    for entry in CATALOGUE:
        if name == entry.name or any(name in (file.name, stem(file.name)) for file in entry.files):
            return entry
    return None


def usual_weights(backbone: str) -> str:
    """The catalogue name of what a backbone uses when `reid.weights` is null.

    Raises:
        ConfigError: `onnx`, which can be anything.
    """
    if backbone not in USUAL_WEIGHTS:
        raise ConfigError(f"reid.weights: backbone {backbone} needs the file of a network (.onnx, _openvino_model)")
    return USUAL_WEIGHTS[backbone]


def find_file(file_name: str) -> WeightsFile | None:
    """What is known of a file of exactly this name."""
    return next((file for entry in CATALOGUE for file in entry.files if file.name == file_name), None)


def stem(file_name: str) -> str:
    """A weights file's name without its ending; other dots belong to the name (`lr0.0015`)."""
    for ending in ENDINGS:
        if ending and file_name.endswith(ending):
            return file_name[: -len(ending)]
    return file_name


ENDINGS = ("", ".safetensors", ".onnx", ".pth", ".pt", ".engine", "_openvino_model", ".xml")


def find_threshold(clip_model_id: str) -> Threshold:
    """The threshold stored for a head over a model, named as in `ClipFeature.model_id` (`name@hash/head`).

    Raises:
        ConfigError: none is stored.
    """
    model, _, head = clip_model_id.partition("/")
    threshold = THRESHOLDS.get((model.partition("@")[0], head))
    if threshold is None:
        known = ", ".join(f"{m}/{h}" for m, h in THRESHOLDS)
        raise ConfigError(
            f"matcher.threshold: auto has no figure for {clip_model_id} (it has: {known}); "
            "`run_pipeline.py fit-site` measures it on your own footage, or set a distance (0 to 2)"
        )
    return threshold
