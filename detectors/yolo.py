"""Persons by ultralytics' YOLO models: `.pt`, `.onnx`, OpenVINO folders and TensorRT engines.

Only ultralytics' loader and forward pass are used. Letterboxing and suppression are done here, for one class, which
costs less than its predictor and gives the same boxes (a test compares them).
"""

import hashlib
import pickle
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from detectors.quiet import import_quietly
from pipeline.boxes import box_iou, clip_boxes
from pipeline.errors import WeightsError
from pipeline.types import Detections, FloatArray, Frame, ImageArray

_FORMATS = (".pt", ".onnx", ".engine")
_NMS_IOU = 0.7  # ultralytics' default
_MOST_PERSONS = 300  # per frame, as ultralytics' max_det
_MOST_CANDIDATES = 2000  # boxes that enter the suppression, the most confident ones
_GREY = 114  # letterbox border that the models were trained with
_BATCH = 16  # frames per forward pass; more save nothing and cost memory
_HASH_CHUNK = 1 << 20  # bytes

# What ultralytics, PyTorch, ONNX Runtime and OpenVINO raise for files they cannot read
_LOAD_ERRORS = (OSError, RuntimeError, ValueError, TypeError, KeyError, AttributeError, EOFError, StopIteration)


@dataclass(frozen=True, slots=True)
class _Letterbox:
    """How a picture was scaled and padded to the model's input."""

    scale: float
    left: int
    top: int


class YoloDetector:
    """Implements `ports.Detector` for the class `person`."""

    def __init__(
        self,
        weights: Path,
        *,
        confidence: float = 0.1,
        image_size_px: int = 640,
        device: str = "auto",
        sha256: str | None = None,
    ) -> None:
        """Load the model.

        Args:
            weights: a file or an OpenVINO folder that exists; nothing is ever fetched.
            confidence: weaker boxes are not passed on; the tracker's low threshold by default, for its second stage.
            image_size_px: longer side of the model's input; a model exported for a fixed size keeps its own.
            device: `auto` (CUDA where there is one), `cpu`, `cuda:0`, `intel:gpu`, ….
            sha256: checked before anything is loaded, because a `.pt` file may run code. Of an OpenVINO folder: of
                its .xml and .bin, one after the other.

        Raises:
            WeightsError: missing, another format, a wrong hash, damaged, or no detector of persons.
        """
        self._weights = Path(weights)
        check_weights(self._weights, sha256)
        self._confidence = confidence
        self._model = _load(self._weights, device)
        self._person = _person_class(self._model, self._weights)
        metadata = getattr(self._model, "metadata", None) or {}
        dynamic = bool(metadata.get("dynamic", getattr(self._model, "dynamic", False)))
        self._any_shape = self._model.format == "pt" or dynamic
        self._batch = _BATCH if self._any_shape else max(int(getattr(self._model, "batch", 1) or 1), 1)
        self._stride = int(self._model.stride)
        self._input_px = self._choose_input(image_size_px)

    def _choose_input(self, image_size_px: int) -> tuple[int, int]:
        """Largest (height, width) of the model's input."""
        fixed = getattr(self._model, "imgsz", None)
        if not self._any_shape and fixed is not None:
            return (int(fixed), int(fixed)) if isinstance(fixed, int) else (int(fixed[0]), int(fixed[1]))
        side = -(-image_size_px // self._stride) * self._stride
        return side, side

    def detect(self, frames: Sequence[Frame]) -> list[Detections]:
        """Persons in each frame, most confident first."""
        boxed = [self._letterbox(frame.image) for frame in frames]
        found = [Detections.empty()] * len(frames)
        for members in self._batches([image.shape for image, _ in boxed]):
            outputs = self._forward([boxed[i][0] for i in members])
            for i, output in zip(members, outputs, strict=True):
                found[i] = self._decode(output, boxed[i][1], frames[i])
        return found

    def _batches(self, shapes: Sequence[tuple[int, ...]]) -> Iterator[list[int]]:
        """Positions of frames whose inputs have the same shape, at most a batch of them each."""
        for shape in dict.fromkeys(shapes):
            members = [i for i, other in enumerate(shapes) if other == shape]
            for start in range(0, len(members), self._batch):
                yield members[start : start + self._batch]

    def _letterbox(self, image: ImageArray) -> tuple[ImageArray, _Letterbox]:
        """The picture scaled to the model's input, with a grey border: the least where the model takes any shape."""
        height, width = image.shape[:2]
        most_h, most_w = self._input_px
        scale = min(most_h / height, most_w / width)
        new_h, new_w = max(round(height * scale), 1), max(round(width * scale), 1)
        pad_h, pad_w = most_h - new_h, most_w - new_w
        if self._any_shape:
            pad_h, pad_w = pad_h % self._stride, pad_w % self._stride
        if (new_h, new_w) != (height, width):
            image = np.asarray(cv2.resize(image, (new_w, new_h), interpolation=cv2.INTER_LINEAR), np.uint8)
        top, left = round(pad_h / 2 - 0.1), round(pad_w / 2 - 0.1)
        border = (top, pad_h - top, left, pad_w - left)
        if any(border):
            grey = (_GREY, _GREY, _GREY)
            image = np.asarray(cv2.copyMakeBorder(image, *border, cv2.BORDER_CONSTANT, value=grey), np.uint8)
        return image, _Letterbox(scale, left, top)

    def _forward(self, images: Sequence[ImageArray]) -> FloatArray:
        """(B, 4 + classes, anchors) or, for end-to-end models, (B, boxes, 6)."""
        import torch

        stack = np.stack(images)
        if not self._any_shape and len(stack) < self._batch:  # a fixed batch is filled up with its last picture
            stack = np.concatenate([stack, np.repeat(stack[-1:], self._batch - len(stack), axis=0)])
        with torch.inference_mode():
            tensor = torch.from_numpy(stack).to(self._model.device)
            tensor = tensor.flip(-1).permute(0, 3, 1, 2).contiguous()  # BGR (B, H, W, 3) -> RGB (B, 3, H, W)
            tensor = (tensor.half() if self._model.fp16 else tensor.float()).div_(255)
            output = self._model(tensor)
            while isinstance(output, list | tuple):
                output = output[0]
            return np.asarray(output[: len(images)].float().cpu().numpy(), np.float32)

    def _decode(self, output: FloatArray, letterbox: _Letterbox, frame: Frame) -> Detections:
        end_to_end = bool(getattr(self._model, "end2end", False)) or output.shape[-1] == 6
        boxes, confidence = self._end_to_end(output) if end_to_end else self._suppress(output)
        height, width = frame.image.shape[:2]
        shift = np.array([letterbox.left, letterbox.top] * 2, np.float32)
        boxes = clip_boxes((boxes - shift) / np.float32(letterbox.scale), width, height)
        return Detections(boxes, np.clip(confidence, 0, 1))

    def _end_to_end(self, output: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Rows of x1, y1, x2, y2, confidence, class, already suppressed by the model."""
        rows = output[(output[:, 4] > self._confidence) & (output[:, 5] == self._person)][:_MOST_PERSONS]
        rows = rows[np.argsort(-rows[:, 4], kind="stable")]
        return rows[:, :4], rows[:, 4]

    def _suppress(self, output: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Columns of cx, cy, w, h, a score per class → persons whose best class it is, the overlapping ones removed."""
        scores = output[4 + self._person]
        candidates = np.flatnonzero(scores > self._confidence)
        columns = output[:, candidates]
        candidates = np.flatnonzero(columns[4:].max(axis=0) <= columns[4 + self._person])
        columns = columns[:, candidates]
        order = np.argsort(-columns[4 + self._person], kind="stable")[:_MOST_CANDIDATES]
        columns = columns[:, order]
        half = columns[2:4] / 2
        boxes = np.concatenate([columns[:2] - half, columns[:2] + half]).T
        keep = suppress(boxes, _NMS_IOU)[:_MOST_PERSONS]
        return boxes[keep], columns[4 + self._person][keep]


def suppress(boxes: FloatArray, most_iou: float) -> list[int]:
    """Positions of the boxes that overlap no earlier kept one by more than `most_iou`; most confident first."""
    overlap = box_iou(boxes, boxes) > most_iou
    free = np.ones(len(boxes), bool)
    kept = []
    for i in range(len(boxes)):
        if free[i]:
            kept.append(i)
            free &= ~overlap[i]
    return kept


def check_weights(weights: Path, sha256: str | None = None) -> None:
    """See that the weights are there, of a known format and, given a hash, the right ones.

    Raises:
        WeightsError: says what is wrong and what to do.
    """
    files = sorted([*weights.glob("*.xml"), *weights.glob("*.bin")], reverse=True) if weights.is_dir() else [weights]
    if not weights.exists():
        raise WeightsError(f"no detector weights at {weights}; give a file or OpenVINO folder that exists")
    if weights.is_dir() and len(files) != 2:
        raise WeightsError(f"{weights}: expected an OpenVINO folder with one .xml and one .bin; export the model again")
    if weights.is_file() and weights.suffix not in _FORMATS:
        raise WeightsError(f"{weights}: expected {', '.join(_FORMATS)} or an OpenVINO folder, got {weights.suffix!r}")
    if sha256 is None:
        return
    found = _hash(files)
    if found != sha256.lower():
        raise WeightsError(f"{weights}: its SHA-256 is {found}, expected {sha256.lower()}; fetch the file again")


def _hash(files: Sequence[Path]) -> str:
    digest = hashlib.sha256()
    for file in files:
        with file.open("rb") as stream:
            while chunk := stream.read(_HASH_CHUNK):
                digest.update(chunk)
    return digest.hexdigest()


def _load(weights: Path, device: str) -> Any:
    """Ultralytics' `AutoBackend` of the weights: a callable from (B, 3, H, W) to the raw output."""
    import torch

    auto_backend = import_quietly("ultralytics.nn.autobackend").AutoBackend
    name = ("cuda:0" if torch.cuda.is_available() else "cpu") if device == "auto" else device
    place = name if name.startswith("intel") else torch.device(name)
    half = name.startswith("cuda") and weights.suffix in (".pt", ".engine")
    if weights.is_dir() and not weights.name.endswith("_openvino_model"):
        raise WeightsError(f"{weights}: rename the folder so that it ends in _openvino_model")
    try:
        model = auto_backend(str(weights), device=place, fp16=half, fuse=True, verbose=False)
        model.eval()
    except pickle.UnpicklingError as error:
        raise WeightsError(f"{weights}: not a PyTorch model ({_first_line(error)}); fetch it again") from None
    except ImportError as error:
        raise WeightsError(f"{weights}: {_first_line(error)}; install the runtime: pip install '.[cpu]'") from None
    except _LOAD_ERRORS as error:
        raise WeightsError(f"{weights}: cannot be loaded ({_first_line(error)}); fetch or export it again") from None
    return model


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__


def _person_class(model: Any, weights: Path) -> int:
    """The number of the class `person`; the first class of a model that knows no names, as in COCO."""
    if getattr(model, "task", None) not in (None, "detect"):
        raise WeightsError(f"{weights}: expected a detection model, got one for {model.task!r}")
    names = {str(name).lower(): int(number) for number, name in model.names.items()}
    if "person" in names:
        return names["person"]
    if "class0" in names:
        return 0
    raise WeightsError(f"{weights}: expected a model with the class 'person', got {', '.join(sorted(names)[:5])}, …")
