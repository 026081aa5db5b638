"""The compute thread of the inference process: takes what waits, joins it into batches, answers."""

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from pipeline.inference.batching import Request, RequestKind, RequestQueue, split_like
from pipeline.inference.wire import Arrays, Head
from pipeline.ports import CropEncoder, Detector
from pipeline.types import CropFeature, Detections, Frame

MAX_BATCH = 8  # pictures; more than a small GPU gains from, and eight cameras' worth of waiting
MAX_CROPS = 64  # crops of 256×128 px in one pass: 0.5 GB with ResNet-50 in single precision
IDLE_S = 0.5  # the compute thread reports progress at least this often
MAX_FAILURES = 20  # batches in a row; a GPU in a bad state needs a fresh process

_log = logging.getLogger(__name__)


class Counters:
    """Named counts that several threads may raise."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()

    def add(self, name: str, by: int = 1) -> None:
        with self._lock:
            self._counts[name] += by

    def snapshot(self) -> dict[str, float]:
        with self._lock:
            return {name: float(n) for name, n in self._counts.items()}


@dataclass(frozen=True, slots=True)
class Limits:
    """The most pictures and the most crops that are computed at once."""

    pictures: int = MAX_BATCH
    crops: int = MAX_CROPS

    def of(self, kind: RequestKind) -> int:
        return self.pictures if kind == "detect" else self.crops


@dataclass(frozen=True, slots=True)
class Observer:
    """Who wants to know.

    Attributes:
        record: takes (stage, seconds) for `inference_wait`, `inference_detect` and `inference_encode`.
        progress: called by the compute thread at least every half second while it is alive: a heartbeat.
    """

    record: Callable[[str, float], None] = lambda stage, seconds: None
    progress: Callable[[], None] = lambda: None
    monotonic: Callable[[], float] = time.monotonic


class Computer:
    """Answers the requests of a queue with one detector and one encoder, in the thread that calls `run`."""

    def __init__(
        self,
        detector: Detector,
        encoder: CropEncoder,
        queue: RequestQueue,
        counters: Counters,
        limits: Limits,
        observer: Observer,
    ) -> None:
        self._detector = detector
        self._encoder = encoder
        self._description = encoder.describe()
        self._queue = queue
        self._counters = counters
        self._limits = limits
        self._observer = observer
        self._failures = 0

    @property
    def is_broken(self) -> bool:
        """Whether computing failed so often in a row that only a fresh process may help."""
        return self._failures >= MAX_FAILURES

    def run(self, stop: threading.Event) -> None:
        """Answer until `stop` is set."""
        while not stop.is_set():
            self._observer.progress()
            batch = [r for r in self._queue.take(self._limits.of, IDLE_S) if not self._drop_if_abandoned(r)]
            if batch:
                self._answer(batch)

    def _drop_if_abandoned(self, request: Request) -> bool:
        if not request.is_abandoned():
            return False
        self._counters.add("abandoned")
        request.fail("abandoned", "nobody waits for the answer")
        return True

    def _answer(self, batch: list[Request]) -> None:
        """Compute a batch; when it fails, each request alone, so that one bad picture fails only its own camera."""
        started_s = self._observer.monotonic()
        kind = batch[0].kind
        try:
            answers = self._detect(batch) if kind == "detect" else self._encode(batch)
        except Exception as error:  # the edge of the process: models raise anything
            if len(batch) > 1:
                for request in batch:
                    self._answer([request])
                return
            self._failures += 1
            self._counters.add("errors")
            _log.exception("%s failed", kind)
            batch[0].fail("failed", f"{kind} failed: {type(error).__name__}: {error}"[:500])
            return
        self._failures = 0
        self._deliver(batch, answers, started_s)

    def _deliver(self, batch: list[Request], answers: list[tuple[Head, Arrays]], started_s: float) -> None:
        kind = batch[0].kind
        compute_s = self._observer.monotonic() - started_s
        self._observer.record(f"inference_{kind}", compute_s)
        self._counters.add(f"batches_{kind}")
        self._counters.add("pictures" if kind == "detect" else "crops", sum(r.weight for r in batch))
        for request, (head, arrays) in zip(batch, answers, strict=True):
            waited_s = started_s - request.received_s
            self._observer.record("inference_wait", waited_s)
            if request.is_stale():
                self._counters.add("stale")
                request.fail("stale", "the picture was overwritten while it was used")
                continue
            request.answer = ({**head, "waited_s": waited_s, "compute_s": compute_s, "batch": len(batch)}, arrays)
            request.done.set()

    def _detect(self, batch: list[Request]) -> list[tuple[Head, Arrays]]:
        frames = [f for request in batch for f in request.frames]
        found: list[list[Detections]] = split_like(self._detector.detect(frames), [len(r.frames) for r in batch])
        return [({}, [a for d in detections for a in (d.xyxy, d.confidence)]) for detections in found]

    def _encode(self, batch: list[Request]) -> list[tuple[Head, Arrays]]:
        frames: list[Frame] = [f for request in batch for f in request.frames]
        boxes = [b for request in batch for b in request.boxes]
        features: list[list[list[CropFeature]]] = split_like(
            self._encoder.encode(frames, boxes), [len(r.frames) for r in batch]
        )
        return [self._features_message(per_frame, r) for per_frame, r in zip(features, batch, strict=True)]

    def _features_message(self, per_frame: list[list[CropFeature]], request: Request) -> tuple[Head, Arrays]:
        counts = [len(features) for features in per_frame]
        if counts != [len(b) for b in request.boxes]:
            raise ValueError(f"the encoder returned {counts} features for {[len(b) for b in request.boxes]} boxes")
        flat = [f for features in per_frame for f in features]
        shape = (len(flat), self._description.stripes, self._description.channels)
        stripes = np.stack([f.stripes for f in flat]) if flat else np.zeros(shape, np.float32)
        energy = np.stack([f.energy for f in flat]) if flat else np.zeros(shape[:2], np.float32)
        return {"model_id": self._description.model_id}, [stripes, energy]
