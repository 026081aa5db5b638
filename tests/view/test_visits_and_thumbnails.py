from dataclasses import dataclass

import numpy as np
import pytest

from pipeline.view.thumbnails import data_uri, draw_masks, read_image
from pipeline.view.visits import Visit, visits_of


@dataclass
class Event:
    kind: str
    identity_id: int
    at_s: float
    camera_id: str = "door"
    track_id: int | None = 1
    other_identity_id: int | None = None
    epoch: str = "1"

    @property
    def decided_at_s(self) -> float:
        return self.at_s + 0.5


def spans(*events: Event) -> list[tuple[int, str, float, float | None]]:
    return [(v.identity_id, v.camera_id, v.start_s, v.end_s) for v in visits_of(events)]


def test_no_events_make_no_visits() -> None:
    assert visits_of([]) == []


def test_a_visit_runs_from_arrival_to_leaving_and_an_open_one_to_the_last_event() -> None:
    events = Event("entered", 1, 0.0), Event("left", 1, 4.0), Event("entered", 2, 6.0), Event("unknown", 0, 9.0)
    assert spans(*events) == [(1, "door", 0.0, 4.0), (2, "door", 6.0, 9.5)]


def test_going_on_in_a_new_track_is_the_same_visit_and_a_return_is_a_new_one() -> None:
    events = Event("entered", 1, 0.0), Event("continued", 1, 3.0, track_id=2), Event("left", 1, 5.0)
    assert spans(*events, Event("reentered", 1, 20.0), Event("left", 1, 21.0)) == [
        (1, "door", 0.0, 5.0),
        (1, "door", 20.0, 21.0),
    ]


def test_being_in_two_cameras_at_once_gives_two_visits() -> None:
    events = (
        Event("entered", 1, 0.0),
        Event("handed_over", 1, 2.0, "hall"),
        Event("left", 1, 3.0),
        Event("left", 1, 9, "hall"),
    )
    assert spans(*events) == [(1, "door", 0.0, 3.0), (1, "hall", 2.0, 9.0)]


def test_merging_gives_all_visits_to_the_identity_that_lives_on() -> None:
    events = (
        Event("entered", 1, 0.0),
        Event("left", 1, 1.0),
        Event("entered", 2, 4.0),
        Event("merged", 2, 5.0, other_identity_id=1),
    )
    assert [span[0] for span in spans(*events, Event("left", 1, 7.0))] == [1, 1]
    assert spans(*events, Event("left", 1, 7.0))[1][3] == 7.0


@pytest.mark.parametrize("kind", ["split", "reassigned"])
def test_a_corrected_track_moves_its_visit(kind: str) -> None:
    events = Event("entered", 1, 0.0, track_id=1), Event("entered", 2, 1.0, track_id=2)
    assert [s[0] for s in spans(*events, Event(kind, 3, 2.0, track_id=1, other_identity_id=1))] == [3, 2]


def test_a_part_of_a_visit_can_turn_out_to_be_somebody_else() -> None:
    events = Event("entered", 1, 0.0), Event("continued", 1, 3.0, track_id=2), Event("left", 1, 9.0, track_id=2)
    assert spans(*events, Event("split", 2, 3.0, track_id=2, other_identity_id=1)) == [
        (1, "door", 0.0, 9.0),
        (2, "door", 3.0, 9.0),
    ]
    back = Event("split", 2, 0.0, track_id=1, other_identity_id=1), Event("reassigned", 1, 0.0, other_identity_id=2)
    assert spans(*events, *back) == [(1, "door", 0.0, 9.0)]


def test_two_who_were_in_a_camera_at_once_and_are_one_leave_together() -> None:
    events = (
        Event("entered", 1, 0.0, track_id=1),
        Event("entered", 2, 1.0, track_id=2),
        Event("merged", 2, 2.0, other_identity_id=1),
        Event("left", 1, 5.0, track_id=2),
        Event("unknown", 0, 50.0, track_id=3),
    )
    assert spans(*events) == [(1, "door", 0.0, 5.0), (1, "door", 1.0, 5.0)]


def test_a_track_that_was_unknown_and_is_somebody_after_all_is_a_visit() -> None:
    events = Event("unknown", 0, 1.0, track_id=7), Event("reassigned", 4, 1.0, track_id=7, other_identity_id=0)
    assert spans(*events, Event("left", 4, 3.0, track_id=7)) == [(4, "door", 1.0, 3.0)]


def test_merges_in_a_ring_end() -> None:
    ring = Event("merged", 1, 2.0, other_identity_id=2), Event("merged", 2, 2.0, other_identity_id=1)
    assert [s[0] for s in spans(Event("entered", 1, 0.0), *ring)] == [2]


def test_a_forgotten_identity_leaves_no_visit() -> None:
    assert spans(Event("entered", 1, 0.0), Event("entered", 2, 0.0), Event("forgotten", 1, 3.0, "", None)) == [
        (2, "door", 0.0, 3.5)
    ]


def test_leaving_without_having_come_or_before_it_does_no_harm() -> None:
    assert spans(Event("left", 1, 0.0)) == []
    assert spans(Event("entered", 1, 5.0), Event("left", 1, 3.0)) == [(1, "door", 5.0, 5.0)]


def visit(identity_id: int, start_s: float, end_s: float, camera_id: str = "door", kind: str = "entered") -> Visit:
    return Visit(identity_id, camera_id, start_s, end_s, kind, (camera_id, "1", 1))


def test_masks_are_outlined_in_the_identitys_colour_and_nothing_else_changes(tmp_path: object) -> None:
    image = np.full((120, 160, 3), 90, np.uint8)
    labels = np.zeros((120, 160), np.uint8)
    labels[40:100, 60:90] = 5
    drawn = draw_masks(image, labels, [(7, 5), (8, 9), (9, 0)])
    assert (image == 90).all()
    assert (drawn[70, 75] != 90).any() and (drawn[40:100, 58:62] != 90).any()
    assert (drawn[:, 120:] == 90).all() and (drawn[105:] == 90).all()


def test_a_label_map_of_another_size_is_ignored() -> None:
    image = np.full((120, 160, 3), 90, np.uint8)
    assert (draw_masks(image, np.ones((10, 10), np.uint8), [(1, 1)]) == image).all()


@pytest.mark.parametrize("size", [(1, 1), (4000, 10), (10, 4000), (90, 160)])
def test_thumbnails_of_any_shape_are_data_uris(size: tuple[int, int]) -> None:
    assert data_uri(np.zeros((*size, 3), np.uint8), 96, 96).startswith("data:image/jpeg;base64,")


def test_a_file_that_is_no_picture_is_none(tmp_path) -> None:  # type: ignore[no-untyped-def]
    for content in (b"", b"GIF89a nonsense", b"\x89PNG\r\n\x1a\n"):
        (tmp_path / "x.jpg").write_bytes(content)
        assert read_image(tmp_path / "x.jpg") is None
    assert read_image(tmp_path / "absent.jpg") is None
