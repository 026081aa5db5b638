import json
from dataclasses import replace

import pytest
from bus_examples import POINTER, event, reference
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.bus.codec import event_from_json, event_to_json, reference_from_json, reference_to_json
from pipeline.errors import DecodeError
from pipeline.types import Evidence, IdentityEvent


def test_a_line_has_every_key_in_a_fixed_order_and_null_for_what_is_unknown() -> None:
    assert event_to_json(IdentityEvent(1, "forgotten", 7, None, 1.0, 2.0)) == (
        '{"schema":3,"sequence":1,"kind":"forgotten","identity_id":7,"key":null,"at_s":1.0,"decided_at_s":2.0,'
        '"emitted_at_s":null,"evidence":null,"absent_s":null,"via":[],"other_identity_id":null,"previous_key":null,'
        '"name":null,"frame":null,"by":"matcher","exit_camera_id":null,"exit_at_s":null,"confidence":null}'
    )


def test_an_event_and_a_reference_come_back_from_their_lines() -> None:
    sent = event(frame=None)
    assert event_from_json(event_to_json(sent)) == sent
    pointer = event_from_json(event_to_json(event())).frame
    assert pointer is not None and pointer.file == POINTER.file
    assert reference_from_json(reference_to_json(reference())) == reference()


def test_times_keep_six_digits_and_distances_four() -> None:
    evidence = Evidence(0.123456789, 0.4, (2, 0.55555555))
    line = json.loads(event_to_json(event(at_s=1.23456789, absent_s=1e-9, evidence=evidence)))
    assert line["at_s"] == 1.234568
    assert line["absent_s"] == 0.0
    assert line["evidence"]["distance"] == 0.1235
    assert line["evidence"]["runner_up"] == [2, 0.5556]


def test_boxes_keep_hundredths_of_a_pixel() -> None:
    subject = replace(reference().subjects[0], xyxy=(0.123, 1.0, 2.005, 3.999))
    line = json.loads(reference_to_json(replace(reference(), subjects=(subject,))))
    assert line["subjects"][0]["xyxy"] == [0.12, 1.0, 2.0, 4.0]


def test_a_small_negative_number_is_not_written_as_minus_zero() -> None:
    assert '"at_s":0.0,' in event_to_json(event(at_s=-1e-9))


@given(st.floats(-1e10, 1e10), st.floats(0, 2), st.text(st.characters(exclude_categories=["Cs"]), max_size=9))
@settings(max_examples=50, deadline=None)
def test_reading_and_writing_again_gives_the_same_line(at_s: float, distance: float, name: str) -> None:
    line = event_to_json(event(at_s=at_s, evidence=Evidence(distance, 0.4), name=name))
    assert "\n" not in line
    assert event_to_json(event_from_json(line)) == line


@pytest.mark.parametrize(
    "line",
    [
        "",
        "{}",
        "null",
        "[1]",
        '{"schema":3}',
        event_to_json(event()).replace('"schema":3', '"schema":1'),
        event_to_json(event())[:-1],
        reference_to_json(reference()),
    ],
)
def test_a_line_that_is_no_event_is_refused(line: str) -> None:
    with pytest.raises(DecodeError):
        event_from_json(line)


@given(st.text())
@settings(max_examples=50, deadline=None)
def test_random_text_is_refused(line: str) -> None:
    with pytest.raises(DecodeError):
        reference_from_json(line)


def test_what_is_not_a_number_is_not_written() -> None:
    with pytest.raises(ValueError, match="at_s"):
        event_to_json(event(at_s=float("nan")))
