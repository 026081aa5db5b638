import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from background_scene import HEIGHT_PX, PEOPLE, WIDTH_PX, Keep, MakeEvent, Person

from pipeline.background import references
from pipeline.background.files import read_image
from pipeline.background.references import ReferenceKeeper, reference_json
from pipeline.config import BackgroundConfig
from pipeline.errors import OutputError
from pipeline.types import FloatArray, Frame, FramePointer, ReferenceFrame, TrackKey


class BoxSegmenter:
    """Every box is its own mask, except rows in `lost`."""

    def __init__(self) -> None:
        self.calls = 0
        self.lost: set[int] = set()

    def segment(self, frame: Frame, boxes: FloatArray) -> np.ndarray:
        self.calls += 1
        masks = np.zeros((len(boxes), *frame.image.shape[:2]), bool)
        for i, (x1, y1, x2, y2) in enumerate(boxes.astype(int)):
            if i not in self.lost:
                masks[i, y1:y2, x1:x2] = True
        return masks


@pytest.fixture
def segmenter() -> BoxSegmenter:
    return BoxSegmenter()


@pytest.fixture
def keeper(tmp_path: Path, segmenter: BoxSegmenter) -> ReferenceKeeper:
    return ReferenceKeeper(tmp_path, segmenter, "here", BackgroundConfig(min_quality=0.2))


def taken(reference: ReferenceFrame | None) -> ReferenceFrame:
    assert reference is not None
    return reference


def lines(folder: Path) -> list[dict[str, object]]:
    path = folder / "references" / "references.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def test_an_entry_gives_picture_label_map_and_line(
    tmp_path: Path, keeper: ReferenceKeeper, keep: Keep, event: MakeEvent
) -> None:
    pointer = keep()
    reference = taken(keeper.handle(event(1, "entered", 5, frame=pointer)))
    assert reference.image == "references/door_10.000.png" and reference.mask == "references/door_10.000_mask.png"
    assert (reference.reason, reference.identity_id, reference.segmenter) == ("entered", 5, "grabcut")
    assert [(s.identity_id, s.value, s.quality) for s in reference.subjects] == [(5, 1, 0.8), (0, 2, 0.8)]
    labels = read_image(tmp_path / reference.mask, grey=True)
    assert labels.shape == (HEIGHT_PX, WIDTH_PX) and sorted(np.unique(labels)) == [0, 1, 2]
    assert (read_image(tmp_path / reference.image) == read_image(tmp_path / pointer.file)).all()
    assert lines(tmp_path) == [json.loads(reference_json(reference))]
    assert keeper.book.fresh("door", 5)
    assert not [p.name for p in tmp_path.rglob("*.tmp")]


@pytest.mark.parametrize("kind", ["entered", "handed_over", "reentered", "continued"])
def test_every_appearance_takes_one(keeper: ReferenceKeeper, keep: Keep, event: MakeEvent, kind: str) -> None:
    assert taken(keeper.handle(event(1, kind, 5, frame=keep()))).reason == kind


@pytest.mark.parametrize("kind", ["left", "unknown", "merged", "split", "reassigned", "renamed", "forgotten"])
def test_no_other_event_takes_one(
    tmp_path: Path, keeper: ReferenceKeeper, keep: Keep, event: MakeEvent, kind: str
) -> None:
    assert keeper.handle(event(1, kind, 5, other_identity_id=6, frame=keep())) is None
    assert keeper.owed == 0 and lines(tmp_path) == []


def test_everybody_known_is_named_and_two_entries_in_one_frame_are_segmented_once(
    tmp_path: Path, keeper: ReferenceKeeper, segmenter: BoxSegmenter, keep: Keep, event: MakeEvent
) -> None:
    pointer = keep()
    keeper.handle(event(1, "entered", 5, frame=pointer))
    second = taken(keeper.handle(event(2, "entered", 6, track=2, frame=pointer)))
    assert [s.identity_id for s in second.subjects] == [5, 6]
    assert segmenter.calls == 1 and len(lines(tmp_path)) == 2
    assert keeper.book.fresh("door", 5) and keeper.book.fresh("door", 6)


def test_frames_of_other_hosts_are_left_to_them(keeper: ReferenceKeeper, keep: Keep, event: MakeEvent) -> None:
    pointer = keep()
    away = FramePointer("there", pointer.camera_id, pointer.captured_at_s, pointer.file)
    assert keeper.handle(event(1, "entered", 5, frame=away)) is None
    assert keeper.counters["other_host"] == 1 and keeper.owed == 0


def test_a_second_delivery_takes_nothing(tmp_path: Path, keeper: ReferenceKeeper, keep: Keep, event: MakeEvent) -> None:
    one = event(1, "entered", 5, frame=keep())
    keeper.handle(one)
    assert keeper.handle(one) is None and keeper.counters["repeated"] == 1 and len(lines(tmp_path)) == 1


def test_a_gone_frame_is_replaced_by_another_of_the_track(
    tmp_path: Path, keeper: ReferenceKeeper, keep: Keep, event: MakeEvent
) -> None:
    gone = keep(at_s=10)
    (tmp_path / gone.file).unlink()
    keep(at_s=12)
    reference = taken(keeper.handle(event(1, "reentered", 5, frame=gone)))
    assert reference.captured_at_s == 12 and keeper.counters["frame_gone"] == 1


@pytest.mark.parametrize("content", [b"", b"\xff\xd8\xff\xe0 cut off"])
def test_a_damaged_frame_is_counted_and_owed_and_given_up_loudly(
    tmp_path: Path,
    keeper: ReferenceKeeper,
    keep: Keep,
    event: MakeEvent,
    caplog: pytest.LogCaptureFixture,
    content: bytes,
) -> None:
    pointer = keep()
    (tmp_path / pointer.file).write_bytes(content)
    assert keeper.handle(event(1, "reentered", 5, frame=pointer)) is None
    assert keeper.owed == 1 and keeper.counters["frame_damaged"] == 1 and not keeper.book.fresh("door", 5)
    assert keeper.retry(11) == [] and keeper.owed == 1
    assert keeper.retry(10.5 + references.WAIT_S) == [] and keeper.owed == 0
    assert keeper.counters["given_up"] == 1
    assert "identity 5 (reentered) in camera door: the kept frame is damaged" in caplog.text
    assert lines(tmp_path) == []


def test_an_event_without_a_pointer_waits_for_a_kept_frame(
    keeper: ReferenceKeeper, keep: Keep, event: MakeEvent
) -> None:
    assert keeper.handle(event(1, "reentered", 5)) is None
    assert keeper.retry(10.6) == []
    keep()
    (reference,) = keeper.retry(11)
    assert (reference.reason, reference.identity_id) == ("reentered", 5)
    assert keeper.retry(12) == [] and keeper.owed == 0


CUT_OFF = Person(10, 330, 210, (40, 40, 190), (90, 50, 40))  # at the left edge
COVERED = (PEOPLE[0], Person(140, 335, 215, (60, 160, 60), (40, 40, 40)))


def test_a_poor_picture_waits_for_a_better_one_within_the_window(
    keeper: ReferenceKeeper, keep: Keep, event: MakeEvent
) -> None:
    assert keeper.handle(event(1, "reentered", 5, frame=keep(at_s=10, quality=0.1))) is None  # visible from 10 on
    assert keeper.retry(10.6) == [] and keeper.owed == 1
    keep(at_s=10.6, quality=0.5)
    (reference,) = keeper.retry(10.65)
    assert reference.captured_at_s == 10.6
    assert keeper.retry(20) == [] and keeper.owed == 0


@pytest.mark.parametrize("people", [(CUT_OFF,), COVERED])
def test_somebody_cut_off_or_covered_is_put_off_till_the_window_ends_and_bettered_after(
    tmp_path: Path, keeper: ReferenceKeeper, keep: Keep, event: MakeEvent, people: tuple[Person, ...]
) -> None:
    assert keeper.handle(event(1, "reentered", 5, frame=keep(people, at_s=10))) is None
    (first,) = keeper.retry(10 + references.WINDOW_S)
    assert (first.captured_at_s, first.subjects[0].quality) == (10, 0.8)
    assert keeper.owed == 0 and keeper.book.fresh("door", 5)
    assert keeper.retry(11) == []  # the same again would be no better
    keep(at_s=12)
    (second,) = keeper.retry(12)
    assert (second.captured_at_s, second.reason, second.identity_id) == (12, "reentered", 5)
    assert keeper.counters["bettered"] == 1 and len(lines(tmp_path)) == 2
    assert keeper.retry(13) == []


def test_an_event_that_comes_after_the_window_takes_what_there_is(
    keeper: ReferenceKeeper, keep: Keep, event: MakeEvent
) -> None:
    late = replace(event(1, "reentered", 5, frame=keep((CUT_OFF,), at_s=10)), decided_at_s=10 + references.WINDOW_S)
    assert taken(keeper.handle(late)).captured_at_s == 10
    assert keeper.retry(late.decided_at_s + references.WAIT_S) == []  # nothing better came: no failure
    assert keeper.counters["given_up"] == 0 and keeper.retry(100) == []


def test_a_poor_picture_is_used_when_no_better_one_comes(keeper: ReferenceKeeper, keep: Keep, event: MakeEvent) -> None:
    keeper.handle(event(1, "reentered", 5, frame=keep(at_s=10, quality=0.05)))
    keep(at_s=10.6, quality=0.1)
    (reference,) = keeper.retry(100)
    assert reference.captured_at_s == 10.6 and reference.subjects[0].quality == pytest.approx(0.1)


def test_a_lost_mask_leaves_the_reference_stale_and_owed(
    tmp_path: Path, keeper: ReferenceKeeper, segmenter: BoxSegmenter, keep: Keep, event: MakeEvent
) -> None:
    segmenter.lost = {0}
    assert keeper.handle(event(1, "entered", 5, frame=keep())) is None
    assert keeper.counters["mask_lost"] == 1 and not keeper.book.fresh("door", 5) and lines(tmp_path) == []
    segmenter.lost = set()
    keep(at_s=11)
    assert len(keeper.retry(11)) == 1 and keeper.book.fresh("door", 5)


def test_a_bystander_whose_mask_is_lost_has_quality_zero(
    keeper: ReferenceKeeper, segmenter: BoxSegmenter, keep: Keep, event: MakeEvent
) -> None:
    segmenter.lost = {1}
    reference = taken(keeper.handle(event(1, "entered", 5, frame=keep())))
    assert [s.quality for s in reference.subjects] == [0.8, 0.0]


def test_merges_rename_identities_in_later_references(keeper: ReferenceKeeper, keep: Keep, event: MakeEvent) -> None:
    keeper.handle(event(1, "entered", 5, frame=keep()))
    keeper.handle(event(2, "merged", 5, track=None, other_identity_id=3))
    reference = taken(keeper.handle(event(3, "entered", 6, track=2, frame=keep(at_s=11))))
    assert [s.identity_id for s in reference.subjects] == [3, 6]
    assert keeper.book.fresh("door", 3) and keeper.book.fresh("door", 5)  # 5 answers as 3


def test_reassigned_tracks_carry_their_new_identity(keeper: ReferenceKeeper, keep: Keep, event: MakeEvent) -> None:
    keeper.handle(event(1, "entered", 5, frame=keep()))
    keeper.handle(event(2, "reassigned", 7, other_identity_id=5))
    assert not keeper.book.fresh("door", 5)
    reference = taken(keeper.handle(event(3, "entered", 6, track=2, frame=keep(at_s=11))))
    assert [s.identity_id for s in reference.subjects] == [7, 6]


def test_a_forgotten_person_is_nameless_and_no_longer_owed(
    keeper: ReferenceKeeper, keep: Keep, event: MakeEvent
) -> None:
    keeper.handle(event(1, "entered", 5, frame=keep()))
    keeper.handle(event(2, "reentered", 5, track=9))
    assert keeper.owed == 1
    keeper.handle(event(3, "forgotten", 5, track=None))
    assert keeper.owed == 0 and not keeper.book.fresh("door", 5)
    reference = taken(keeper.handle(event(4, "entered", 6, track=2, frame=keep(at_s=11))))
    assert [s.identity_id for s in reference.subjects] == [0, 6]


def test_the_end_of_a_track_makes_its_reference_stale_and_the_next_appearance_renews_it(
    keeper: ReferenceKeeper, keep: Keep, event: MakeEvent
) -> None:
    keeper.handle(event(1, "entered", 5, frame=keep()))
    keeper.track_ended(TrackKey("door", "1", 1))
    assert not keeper.book.fresh("door", 5)
    pointer = keep(people=PEOPLE[:1], at_s=11, first_id=4)
    previous = TrackKey("door", "1", 1)
    taken(keeper.handle(event(2, "continued", 5, track=4, absent_s=0.2, previous_key=previous, frame=pointer)))
    assert keeper.book.fresh("door", 5)


def test_a_file_name_from_the_network_opens_nothing_outside(
    tmp_path: Path, keeper: ReferenceKeeper, event: MakeEvent
) -> None:
    pointer = FramePointer("here", "door", 10.0, "../../etc/passwd")
    assert keeper.handle(event(1, "entered", 5, frame=pointer)) is None
    assert keeper.counters["bad_name"] == 1


def test_a_full_disk_leaves_no_half_reference_and_the_event_can_come_again(
    tmp_path: Path, keeper: ReferenceKeeper, keep: Keep, event: MakeEvent, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = event(1, "entered", 5, frame=keep())

    def full(path: Path, line: str) -> None:
        raise OutputError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(references, "append_line", full)
        with pytest.raises(OutputError):
            keeper.handle(one)
    assert list((tmp_path / "references").glob("*.png")) == []
    taken(keeper.handle(one))


def test_what_the_serialiser_says_is_what_stands_in_the_file(
    tmp_path: Path, segmenter: BoxSegmenter, keep: Keep, event: MakeEvent
) -> None:
    keeper = ReferenceKeeper(
        tmp_path,
        segmenter,
        "here",
        BackgroundConfig(),
        serialise=lambda r: f"ref {r.identity_id}",
        segmenter_name="box",
    )
    assert taken(keeper.handle(event(1, "entered", 5, frame=keep()))).segmenter == "box"
    assert (tmp_path / "references/references.jsonl").read_text() == "ref 5\n"
