"""The worker process: its cameras, from their sources to the bus."""

import random
import time
import uuid
from contextlib import ExitStack
from pathlib import Path

import cv2

from pipeline.build import (
    build_head,
    build_live_source,
    build_recorded_source,
    is_live,
)
from pipeline.bus.publisher import SpoolingPublisher
from pipeline.bus.redis_streams import RedisBus
from pipeline.config import CameraConfig
from pipeline.entry.shared import Pulse, open_bus
from pipeline.errors import InferenceUnavailable
from pipeline.inference.client import InferenceClient, RemoteDetector, RemoteEncoder
from pipeline.inference.shared_frames import FrameRing
from pipeline.ports import Source
from pipeline.runtime.camera import CameraPipeline, PictureKeeping
from pipeline.runtime.children import ChildContext
from pipeline.runtime.figures import Figures, write_figures
from pipeline.runtime.health import process_measures
from pipeline.runtime.latency import LatencyRecorder
from pipeline.runtime.overlaying import BusPreviews, IdentityFollower, OverlayFeed, OverlayParts
from pipeline.runtime.plan import RunPlan
from pipeline.runtime.worker import CameraParts, CameraWork, PacedSource, run_cameras
from pipeline.view.overlay import OverlayDrawer
from pipeline.view.video import VideoWriter

UNKNOWN_FPS = 15.0  # of a camera that states no rate; only its overlay video needs one
READY_S = 110.0  # it waits for the inference process this long, a little less than the supervisor waits for it
FLUSH_S = 2.0  # at the end


def work_cameras(context: ChildContext, plan: RunPlan, camera_ids: tuple[str, ...]) -> None:
    """A worker process: its cameras until their sources end, or until it is told to stop."""
    cv2.setNumThreads(1)  # the cores belong to the inference process
    cameras = [plan.config.camera(camera_id) for camera_id in camera_ids]
    bus = open_bus(plan, context.name)
    spool = plan.config.bus
    publisher = SpoolingPublisher(
        bus, plan.spool_dir / context.name, max_bytes=spool.spool_mb << 20, max_age_s=spool.spool_s
    )
    with ExitStack() as stack:
        stack.callback(publisher.close, FLUSH_S)
        follower = IdentityFollower(bus)
        follower.start()
        stack.callback(follower.close)
        try:
            desks = [_CameraDesk(plan, camera, publisher, bus, follower, context, stack) for camera in cameras]
        except InferenceUnavailable:
            if context.stop.is_set():  # told to stop before it had begun
                return
            raise
        works = {desk.work: desk.source for desk in desks}

        def report() -> None:
            for work in works:
                write_figures(plan.folder, work.figures())
            counters = publisher.counters()
            lost = {f"messages_{name}": n for name, n in counters.items() if name.startswith("dropped_") and n}
            counts = {**counters, **process_measures()}
            write_figures(plan.folder, Figures("process", context.name, losses=lost, counts=counts, at_s=time.time()))

        def pulse() -> None:
            publisher.check()
            for work in works:
                work.beat()
            report()

        context.ready()
        try:
            run_cameras(
                works,
                stop=context.stop,
                on_pass=Pulse(plan.config.runtime.heartbeat_s, pulse),
                beat=context.beat,
                hang_s=plan.config.runtime.hang_s,
            )
        finally:
            for desk in desks:
                desk.close()
            publisher.flush(FLUSH_S)
            report()


class _CameraDesk:
    """The parts of one camera in its worker."""

    def __init__(
        self,
        plan: RunPlan,
        camera: CameraConfig,
        publisher: SpoolingPublisher,
        bus: RedisBus,
        follower: IdentityFollower,
        context: ChildContext,
        stack: ExitStack,
    ) -> None:
        self._plan = plan
        self._camera = camera
        self._live = is_live(camera)
        self._is_first = plan.mark(f"begun-{camera.id}")
        ring = stack.enter_context(FrameRing(plan.run_id, camera.id))
        client = InferenceClient(plan.socket_path, ring)
        stack.callback(client.close)
        description = client.wait_until_ready(READY_S, context.stop)
        latency = LatencyRecorder()
        keeps = plan.out_dir is not None and (
            plan.config.background.references or plan.config.retention.crops_per_identity
        )
        keeping = PictureKeeping(plan.out_dir, camera.id, plan.host) if plan.out_dir is not None and keeps else None
        pipeline = CameraPipeline(
            camera,
            plan.config,
            detector=RemoteDetector(client),
            encoder=RemoteEncoder(client),
            head=build_head(plan.config, description),
            keeping=keeping,
            latency=latency,
        )
        self._parts = CameraParts(camera.id, self._live, pipeline, publisher, latency, shift_s=camera.clock_offset_s)
        self._viewer = self._make_viewer(bus, follower)
        self._parts.viewer = self._viewer
        self.work = CameraWork(self._parts)

    def source(self) -> Source:
        """For the camera's thread: recorded sources wait here until all cameras are ready."""
        plan, camera = self._plan, self._camera
        if self._live:
            plan.mark(f"ready-{camera.id}")
            return build_live_source(
                camera,
                plan.config,
                new_epoch=lambda: uuid.uuid4().hex,
                on_state=self.work.on_state,
                jitter=random.Random(),
            )
        started_s = plan.arrive(camera.id)
        self._parts.shift_s = plan.shift_s(camera)
        return PacedSource(
            build_recorded_source(camera, started_s),
            shift_s=self._parts.shift_s,
            epoch=uuid.uuid4().hex[:12],
            from_s=0.0 if self._is_first else time.time(),
        )

    def close(self) -> None:
        if self._viewer is not None:
            self._viewer.close()

    def _make_viewer(self, bus: RedisBus, follower: IdentityFollower) -> OverlayFeed | None:
        plan, camera = self._plan, self._camera
        video = None
        if plan.overlay and plan.out_dir is not None:
            path = _free_name(plan.out_dir / "overlay" / f"{camera.id}.mp4")
            video = VideoWriter(path, plan.fps.get(camera.id) or UNKNOWN_FPS)
        view = plan.config.view
        return OverlayFeed(
            OverlayParts(
                camera.id,
                follower,
                OverlayDrawer(camera.id, view.trail_s),
                video=video,
                previews=BusPreviews(bus, camera.id),
                preview_fps=view.preview_fps,
                preview_width_px=view.preview_width_px,
                lossless=video is not None and not self._live,
                losses=self._parts.losses,
            )
        )


def _free_name(path: Path) -> Path:
    """`path`, or with a number when a worker before this one wrote it already: nothing is overwritten."""
    number = 2
    free = path
    while free.exists():
        free = path.with_stem(f"{path.stem}_{number}")
        number += 1
    return free
