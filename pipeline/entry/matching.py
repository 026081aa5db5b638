"""The matcher process: the single writer of the site."""

import logging
import os
import time
from collections.abc import Mapping

from pipeline.build import build_matcher, is_live, matcher_threshold
from pipeline.bus.state import Lease, LeaseHeld, RedisState
from pipeline.entry.shared import FIGURES_EVERY_S, Pulse, lease_owner, open_bus
from pipeline.errors import BusRefused, BusUnavailable
from pipeline.runtime.bus_recording import BusRecorder, MatcherSettings
from pipeline.runtime.children import ChildContext
from pipeline.runtime.figures import Figures, write_figures
from pipeline.runtime.health import process_measures
from pipeline.runtime.latency import LatencyRecorder
from pipeline.runtime.matching import Matching, insist, wait_for_model
from pipeline.runtime.plan import RunPlan

_log = logging.getLogger(__name__)

LEASE_WAIT_S = 15.0  # a matcher that died on another host holds its lease for 10 s


def match(context: ChildContext, plan: RunPlan) -> None:
    """The matcher process: the single writer of the site."""
    bus = open_bus(plan, "matcher")
    lease = Lease(bus, lease_owner(plan.host, os.getpid()))
    if not _acquire(lease, context):
        return
    try:
        context.ready()
        clip_model_id = wait_for_model(bus, context.stop, context.beat)
        if clip_model_id is None:
            return
        threshold = matcher_threshold(plan.config, clip_model_id)
        state = RedisState(bus)
        stored = insist(state.load, context.beat, context.stop)
        matcher = build_matcher(plan.config, threshold, stored)
        latency = LatencyRecorder()
        matching = Matching(
            bus,
            state,
            lease,
            matcher,
            beat=context.beat,
            latency=latency,
            recording=_recording(plan, threshold, clip_model_id, stored),
            on_pass=Pulse(FIGURES_EVERY_S, lambda: _report_matching(plan, context, matching, latency)),
        )
        matching.run(context.stop)
        _report_matching(plan, context, matching, latency)
    finally:
        _release(lease)
        bus.close()


def _acquire(lease: Lease, context: ChildContext) -> bool:
    """Become the site's writer, waiting for the lease of one that died; False when told to stop meanwhile."""
    until_s = time.monotonic() + LEASE_WAIT_S
    while not context.stop.is_set():
        try:
            insist(lease.acquire, context.beat, context.stop)
            return True
        except LeaseHeld:
            if time.monotonic() > until_s:
                raise
            context.stop.wait(0.2)
        except BusRefused:
            raise
        except BusUnavailable:
            break  # told to stop
    return False


def _recording(plan: RunPlan, threshold: float, clip_model_id: str, stored: Mapping[str, bytes]) -> BusRecorder | None:
    """Where the matcher writes down what it receives, when it is asked to.

    Raises:
        OutputError, DecodeError: the file cannot be written, or is something else.
    """
    if plan.record_bus is None:
        return None
    live = [camera.id for camera in plan.config.cameras if is_live(camera)]
    settings = MatcherSettings.of(plan.config, threshold, live, clip_model_id)
    return BusRecorder(plan.record_bus, plan.config.site, settings, stored)


def _release(lease: Lease) -> None:
    try:
        lease.release()
    except BusUnavailable as error:
        _log.warning("the lease lapses by itself: %s", error)


def _report_matching(plan: RunPlan, context: ChildContext, matching: Matching, latency: LatencyRecorder) -> None:
    counts = {**matching.counts(), **process_measures()}
    losses, latencies = matching.losses(), latency.to_json()
    write_figures(
        plan.folder,
        Figures("matcher", context.name, losses=losses, counts=counts, latency=latencies, at_s=time.time()),
    )
