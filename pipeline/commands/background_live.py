"""`background` on a live camera: tracked, matched and cut out in one pass, a moment late, until it is stopped."""

import random
import threading
import uuid
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pipeline.background.removal.reading import read_reference
from pipeline.background.removal.remover import BackgroundRemover
from pipeline.background.removal.tracks import CutFrame, Seen
from pipeline.background.retention import clear_kept
from pipeline.build import (
    build_crops,
    build_detector,
    build_encoder,
    build_head,
    build_live_source,
    build_matcher,
    build_references,
    matcher_threshold,
    settle,
)
from pipeline.capture.probe import probe
from pipeline.commands.background_output import CutOutput
from pipeline.commands.output import prepare_output
from pipeline.commands.recorded import fix_threads
from pipeline.config import CameraConfig, Config
from pipeline.errors import SourceLost
from pipeline.ports import Source
from pipeline.replay.delivery import Delivery, ReplayResult
from pipeline.runtime.camera import CameraPipeline, PictureKeeping
from pipeline.runtime.latency import LatencyRecorder
from pipeline.runtime.recorder import RunRecorder
from pipeline.types import FloatArray, Frame, TrackKey, Tracklet

if TYPE_CHECKING:
    from pipeline.commands.background import BackgroundOptions

DELAY_S = (
    1.5  # message time between a frame and its output: nearly every identity is decided by then (docs/background.md)
)
_REMEMBERED_S = 10.0  # of boxes: references show frames that are a few seconds old
_HOST = "background"  # in frame pointers: all files are in one folder
_UNKNOWN_FPS = 15.0  # of a camera that states no rate


def cut_live(config: Config, camera: CameraConfig, options: "BackgroundOptions", echo: Callable[[str], None]) -> int:
    """Cut people out of a live camera until Ctrl-C or `duration_s`; what was written is whole then.

    Raises:
        PipelineError: source, weights, or the disk.
    """
    if options.results is not None:
        echo("note: --results is for recordings and is not used")
    info = probe(camera.source, config.capture)
    settled = settle(config.with_cameras((camera,)))
    for warning in settled.warnings:
        echo(f"warning: {warning}")
    if len(config.cameras) > 1:
        echo(f"note: only {camera.id} runs; who comes from another camera is somebody new here")
    prepare_output(options.out_dir, options.overwrite, options.inputs)
    fix_threads(settled.config)
    output = CutOutput(options.out_dir, camera.id, options.output, info.fps or _UNKNOWN_FPS)
    with output:
        cutting = LiveCutting(settled.config, camera, output, options.identities, options.out_dir)
        source = build_live_source(
            camera,
            settled.config,
            new_epoch=lambda: uuid.uuid4().hex[:8],
            on_state=lambda condition: None,
            jitter=random.Random(),
        )
        echo(f"cutting out {camera.id}; Ctrl-C ends it")
        try:
            with _closed_after(source, options.duration_s):
                for frame in source.frames():
                    cutting.frame(frame)
        except SourceLost as error:
            echo(f"warning: {error}")
        except KeyboardInterrupt:
            pass  # this is how it ends
        finally:
            source.close()
            cutting.close()
    echo(f"{output.frames} frames of {camera.id}: {output.path}")
    return 0


@contextmanager
def _closed_after(source: Source, duration_s: float | None) -> Iterator[None]:
    """The source ends after so many seconds."""
    if duration_s is None:
        yield
        return
    timer = threading.Timer(duration_s, source.close)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


class LiveCutting:
    """One camera's frames through pipeline, matcher and remover, in message time; output comes `DELAY_S` late.

    A mask begins with its track. Whose it is, is asked when the frame is put out: by then the matcher has decided.
    """

    def __init__(
        self, config: Config, camera: CameraConfig, output: CutOutput, identities: frozenset[int], folder: Path
    ) -> None:
        encoder = build_encoder(config)
        head = build_head(config, encoder.describe())
        latency = LatencyRecorder()
        self._folder = folder
        self._camera = camera
        self._output = output
        self._identities = identities
        self._pipeline = CameraPipeline(
            camera,
            config,
            detector=build_detector(config),
            encoder=encoder,
            head=head,
            keeping=PictureKeeping(folder, camera.id, _HOST),
            latency=latency,
        )
        self._recorder = RunRecorder(
            folder,
            [camera.id],
            crops=build_crops(config, folder, _HOST),
            references=build_references(config, folder, _HOST),
            features_s=config.retention.features_s,
        )
        matcher = build_matcher(config, matcher_threshold(config, head.clip_model_id))
        self._result = ReplayResult()
        self._delivery = Delivery(matcher, self._recorder, latency, self._result)
        self._remover = BackgroundRemover()
        self._waiting: deque[CutFrame] = deque()
        self._boxes: deque[tuple[float, dict[int, FloatArray]]] = deque()
        self._read = 0  # references taken in so far
        self._advanced_s = -np.inf

    def frame(self, frame: Frame) -> None:
        """Take one frame; writes those that are old enough."""
        result = self._pipeline.process(frame)
        tracks = result.tracked.tracks
        for message in result.messages:
            self._delivery.deliver(message)
            if isinstance(message, Tracklet) and message.epoch == frame.epoch:
                self._remover.end(message.key.track_id)
        if frame.captured_at_s >= self._advanced_s + 1.0:
            self._advanced_s = frame.captured_at_s
            self._result.references += self._recorder.advance(frame.captured_at_s)
        seen = [Seen(i, box) for i, box in zip(tracks.ids.tolist(), tracks.xyxy, strict=True)]
        self._waiting.append(self._remover.add(frame, seen))
        self._remember(frame.captured_at_s, seen)
        self._take_references(frame.captured_at_s)
        while self._waiting[0].frame.captured_at_s <= frame.captured_at_s - DELAY_S:
            self._put_out(self._waiting.popleft())

    def close(self) -> None:
        """End all tracks, and write what still waits."""
        for message in self._pipeline.finish("end"):
            self._delivery.deliver(message)
        self._delivery.close()
        while self._waiting:
            self._put_out(self._waiting.popleft())
        self._remover.model.save(self._folder, self._camera.id)
        clear_kept(self._folder)

    def _remember(self, at_s: float, seen: list[Seen]) -> None:
        self._boxes.append((at_s, {one.track_id: one.xyxy for one in seen}))
        while self._boxes[0][0] < at_s - _REMEMBERED_S:
            self._boxes.popleft()

    def _take_references(self, at_s: float) -> None:
        """New reference frames renew the masks of those whom they show."""
        new, self._read = self._result.references[self._read :], len(self._result.references)
        for taken in new:
            reference = read_reference(self._folder, asdict(taken))
            past = min(self._boxes, key=lambda entry: abs(entry[0] - taken.captured_at_s))
            if reference is not None:
                here = self._boxes[-1][1].keys()
                self._remover.renew(reference, {i: box for i, box in past[1].items() if i in here}, at_s)

    def _put_out(self, cut: CutFrame) -> None:
        if not self._identities:
            self._output.write(cut, None)
            return
        book = self._recorder.book
        wanted = {book.living(identity_id) for identity_id in self._identities}
        keys = {i: TrackKey(self._camera.id, cut.frame.epoch, i) for i in cut.cutouts}
        self._output.write(cut, {i: book.final(key) for i, key in keys.items() if book.final(key) in wanted})
