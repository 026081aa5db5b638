import uuid

import pytest
from bus_examples import KEY, clip, event, reference, tick, tracked_frame, tracklet

from pipeline.bus.erase import erase_identity
from pipeline.bus.redis_streams import RedisBus
from pipeline.bus.server import EmbeddedServer
from pipeline.bus.streams import CLIPS, DEAD_LETTERS, IDENTITIES, REFERENCES, stream_key, tracks
from pipeline.types import Forget, Merge, Rename, Split, TrackKey

OTHER = TrackKey("door", "1", 5)


@pytest.fixture
def bus(shared_server: EmbeddedServer) -> RedisBus:
    return RedisBus(shared_server.url, f"test-{uuid.uuid4().hex[:12]}")


def test_everything_about_one_person_goes_and_everything_else_stays(bus: RedisBus) -> None:
    for n in range(1, 121):
        bus.publish(CLIPS, clip(n, KEY if n % 2 else OTHER))
    bus.publish(CLIPS, tracklet(KEY))
    bus.publish(CLIPS, tick(122))
    for message in (
        event(1, 7, KEY),
        event(2, 8, OTHER, previous_key=None),
        event(3, 8, None, kind="merged", other_identity_id=7, previous_key=None),
        event(4, 7, None, kind="forgotten", previous_key=None),
    ):
        bus.publish(IDENTITIES, message)
    bus.publish(REFERENCES, reference(7))
    bus.publish(REFERENCES, reference(8))
    bus.publish(tracks("door"), tracked_frame((3, 5)))
    bus.publish(tracks("door"), tracked_frame((5,)))
    bus.client.xadd(stream_key(bus.site, CLIPS), {b"garbage": b"1"})
    bus.client.xadd(stream_key(bus.site, DEAD_LETTERS), {b"reason": b"x"})
    received = bus.receive(CLIPS, "matcher", 1.0, count=10)

    counts = erase_identity(bus.client, bus.site, 7, [KEY, TrackKey("hall", "1", 3)])

    assert counts == {CLIPS: 62, IDENTITIES: 2, REFERENCES: 1, "tracks:door": 1, DEAD_LETTERS: 1}
    left = [d.message for d in bus.read(CLIPS, "0", 0.0)]
    assert [m.sequence for m in left] == [*range(2, 121, 2), 122]  # type: ignore[union-attr]
    assert [d.message.sequence for d in bus.read(IDENTITIES, "0", 0.0)] == [2, 4]  # type: ignore[union-attr]
    assert [d.message.identity_id for d in bus.read(REFERENCES, "0", 0.0)] == [8]  # type: ignore[union-attr]
    assert len(bus.read(tracks("door"), "0", 0.0)) == 1
    assert erase_identity(bus.client, bus.site, 7, [KEY]) == {}

    assert len(received) == 10
    again = RedisBus(bus._url, bus.site)
    assert len(again.receive(CLIPS, "matcher", 0.0)) == 5  # the erased ones are settled, not lost
    assert again.counters.lost == 0


def test_orders_about_the_person_go_with_their_name_and_those_to_forget_stay(bus: RedisBus) -> None:
    doomed = [Rename(7, "Ann", 1), Merge(7, 4, 2), Merge(4, 7, 3), Split(4, (OTHER, KEY), 4), Split(7, (OTHER,), 5)]
    kept = [Forget(7, 6), Rename(4, "Bea", 7), Merge(4, 5, 8), Split(4, (OTHER,), 9, to_id=7)]
    for order in (*doomed, *kept):
        bus.publish(CLIPS, order)
    assert erase_identity(bus.client, bus.site, 7, [KEY]) == {CLIPS: len(doomed)}
    assert [d.message for d in bus.read(CLIPS, "0", 0.0)] == kept


def test_that_a_track_was_taken_for_the_person_stays_with_whose_it_is(bus: RedisBus) -> None:
    for n, kind in enumerate(("split", "reassigned"), start=1):
        bus.publish(IDENTITIES, event(n, 8, OTHER, kind=kind, other_identity_id=7, previous_key=None))
    bus.publish(IDENTITIES, event(3, 7, KEY, kind="split", other_identity_id=8, previous_key=None))
    assert erase_identity(bus.client, bus.site, 7, [KEY]) == {IDENTITIES: 1}
    assert [d.message.sequence for d in bus.read(IDENTITIES, "0", 0.0)] == [1, 2]  # type: ignore[union-attr]


def test_a_site_without_streams_has_nothing_to_erase(bus: RedisBus) -> None:
    assert erase_identity(bus.client, bus.site, 1, []) == {}


def test_a_person_without_tracks_is_still_erased_from_events(bus: RedisBus) -> None:
    bus.publish(IDENTITIES, event(1, 7, None, kind="renamed", previous_key=None))
    assert erase_identity(bus.client, bus.site, 7, []) == {IDENTITIES: 1}


def test_the_append_only_file_is_rewritten(own_server: EmbeddedServer) -> None:
    bus = RedisBus(own_server.url, "site")
    bus.publish(REFERENCES, reference(7))
    before = bus.client.info("persistence")
    assert erase_identity(bus.client, "site", 7, []) == {REFERENCES: 1}
    after = bus.client.info("persistence")
    assert after["aof_rewrite_in_progress"] or after["aof_rewrites"] > before["aof_rewrites"]
