import json
from dataclasses import fields, is_dataclass, replace
from typing import Any

import numpy as np
import pytest
from bus_examples import clip, event, examples, reference, tick, tracked_frame, tracklet
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pipeline.bus.codec import KINDS, decode, encode, quantise
from pipeline.errors import DecodeError
from pipeline.ports import BusMessage
from pipeline.types import ClipFeature, FramePointer, Health, Tick, TrackedFrame, TrackKey, Tracklet, Tracks

finite = st.floats(-1e12, 1e12)
ids = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_-]{0,20}", fullmatch=True)
text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
keys = st.builds(TrackKey, ids, ids, st.integers(0, 2**40))


def assert_same(a: Any, b: Any) -> None:
    assert type(a) is type(b)
    if is_dataclass(a):
        for f in fields(a):
            assert_same(getattr(a, f.name), getattr(b, f.name))
    elif isinstance(a, np.ndarray):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)
    else:
        assert a == b


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_kind_of_message_comes_back_as_it_was_sent(kind: str) -> None:
    sent = examples()[kind]
    expected = quantise(sent) if isinstance(sent, ClipFeature) else sent
    assert_same(decode(encode(sent)), expected)


def test_vectors_arrive_as_the_float16_values_that_quantise_gives() -> None:
    sent = clip()
    received = decode(encode(sent))
    assert isinstance(received, ClipFeature)
    np.testing.assert_array_equal(received.embedding, sent.embedding.astype(np.float16).astype(np.float32))
    np.testing.assert_array_equal(received.embedding, quantise(sent).embedding)
    np.testing.assert_array_equal(received.parts, quantise(sent).parts)
    np.testing.assert_array_equal(received.attention, sent.attention)
    assert not np.array_equal(received.embedding, sent.embedding)
    assert_same(quantise(received), received)


def test_received_arrays_cannot_be_written_to() -> None:
    received = decode(encode(tracklet()))
    assert isinstance(received, Tracklet)
    with pytest.raises(ValueError, match="read-only"):
        received.xyxy[0] = 1


@given(
    st.builds(
        Tracks,
        hnp.arrays(np.int64, 3),
        hnp.arrays(np.float32, (3, 4), elements=st.floats(-1e6, 1e6, width=32)),
        hnp.arrays(np.float32, 3, elements=st.floats(0, 1, width=32)),
    )
    | st.just(Tracks.empty()),
    ids,
    finite,
)
@settings(max_examples=40, deadline=None)
def test_boxes_survive_the_wire_to_the_bit(tracks: Tracks, camera_id: str, at_s: float) -> None:
    sent = TrackedFrame(camera_id, "e", 0, at_s, 640, 360, tracks)
    assert_same(decode(encode(sent)), sent)


@given(keys, st.integers(1, 6), st.integers(0, 5), finite, text, st.none() | st.just(FramePointer("h", "c", 0.0, "a")))
@settings(max_examples=40, deadline=None)
def test_clips_of_any_shape_survive_the_wire(
    key: TrackKey, stripes: int, crops: int, at_s: float, model_id: str, pointer: FramePointer | None
) -> None:
    sent = replace(
        clip(),
        key=key,
        made_at_s=at_s,
        model_id=model_id,
        frame=pointer,
        parts=np.zeros((stripes, 3), np.float32),
        visibility=np.ones(stripes, np.float32),
        attention=np.ones((crops, stripes), np.float32),
    )
    assert_same(decode(encode(sent)), quantise(sent))


@given(text, st.dictionaries(text, finite, max_size=5))
@settings(max_examples=40, deadline=None)
def test_any_text_and_any_counters_survive_the_wire(detail: str, counters: dict[str, float]) -> None:
    sent = Health("worker", "door", 1, 0.0, "LIVE", "1", detail, counters)
    assert_same(decode(encode(sent)), sent)


@given(st.dictionaries(st.sampled_from([b"v", b"k", b"h", b"a:xyxy", b"x"]) | st.binary(max_size=4), st.binary()))
@settings(max_examples=200, deadline=None)
def test_random_fields_are_refused_and_nothing_else_happens(random_fields: dict[bytes, bytes]) -> None:
    with pytest.raises(DecodeError):
        decode(random_fields)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=8,
)


@given(st.sampled_from(sorted(KINDS)), st.data())
@settings(max_examples=300, deadline=None)
def test_a_message_changed_anywhere_is_read_or_refused(kind: str, data: st.DataObject) -> None:
    changed = encode(examples()[kind])
    how = data.draw(st.sampled_from(["bytes", "head", "cut", "drop"]))
    field = data.draw(st.sampled_from(sorted(changed)))
    if how == "head":
        head = json.loads(changed[b"h"])
        head[data.draw(st.sampled_from(sorted(head)))] = data.draw(json_values)
        changed[b"h"] = json.dumps(head).encode()
    elif how == "drop":
        del changed[field]
    elif how == "cut":
        changed[field] = changed[field][: data.draw(st.integers(0, len(changed[field])))]
    else:
        raw = bytearray(changed[field])
        raw[data.draw(st.integers(0, len(raw) - 1)) if raw else 0 :][:1] = b""
        if raw:
            raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
        changed[field] = bytes(raw)
    try:
        decode(changed)
    except DecodeError as error:
        assert str(error) and "\n" not in str(error)


def with_head(message: BusMessage, **changes: object) -> dict[bytes, bytes]:
    sent = encode(message)
    return {**sent, b"h": json.dumps({**json.loads(sent[b"h"]), **changes}).encode()}


def array(dtype: str, *shape: int) -> dict[str, object]:
    return {"dtype": dtype, "shape": list(shape)}


def tracks_arrays(**changes: object) -> dict[bytes, bytes]:
    arrays = {"ids": array("int64", 2), "xyxy": array("float32", 2, 4), "confidence": array("float32", 2), **changes}
    return with_head(tracked_frame(), arrays=arrays)


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({}, "'v' is missing"),
        ({**encode(tick()), b"v": b"1"}, "schema '1' is not known here; this program reads schema 3"),
        ({**encode(tick()), b"v": b"1.0"}, "schema"),
        ({**encode(tick()), b"k": b"tock"}, "kind 'tock' is not known"),
        ({**encode(tick()), b"k": b"\xff"}, "not known"),
        ({**encode(tick()), b"h": b"{"}, "not JSON"),
        ({**encode(tick()), b"h": b"[]"}, "expected an object"),
        ({**encode(tick()), b"h": b"[" * 100_000}, "not JSON"),
        ({**encode(tick()), b"h": b"9" * 100_000}, "not JSON"),
        ({**encode(tick()), b"h": b" " * (2 << 20)}, "longer than"),
        ({**encode(tick()), b"h": b'{"a":1,"a":1}'}, "twice"),
        ({**encode(tick()), b"h": b"\xff"}, "not JSON"),
        ({**encode(tick()), b"a:x": b""}, "unknown field"),
        (with_head(tick(), processed_until_s="1"), "tick.processed_until_s: expected a finite number"),
        (with_head(tick(), processed_until_s=float("nan")), "NaN is not a number"),
        (with_head(tick(), processed_until_s=True), "finite number"),
        ({**encode(tick()), b"h": encode(tick())[b"h"].replace(b"0.5", b"1e999")}, "finite number"),
        (with_head(tick(), processed_until_s=10**400), "finite number"),
        (with_head(tick(), sequence=1.0), "whole number"),
        (with_head(tick(), sequence=2**63), "64 bits"),
        (with_head(tick(), camera_id="../etc"), "tick.camera_id: expected letters"),
        (with_head(tick(), camera_id="\ud800"), "expected text"),
        (with_head(tick(), epoch="e" * 200), "epoch"),
        (with_head(tick(), extra=1), "unknown key 'extra'"),
        (with_head(tick(), arrays={"x": array("int64", 1)}), "arrays: expected none"),
        (with_head(event(), kind="vanished"), "expected one of entered"),
        (with_head(event(), via="hall"), "expected a list"),
        (with_head(event(), key={"camera_id": "door"}), "'epoch' is missing"),
        (with_head(event(), evidence=[1]), "expected an object, got a list"),
        (with_head(reference(), image="/etc/passwd"), "without '..'"),
        (with_head(reference(), mask="a/../../b"), "without '..'"),
        (tracks_arrays(ids=array("int64", 3)), "needs 24 bytes"),
        (tracks_arrays(ids=array("int64", 2**31 - 1)), "needs"),
        (tracks_arrays(ids=array("int64", 10**30)), "shape of 1 lengths"),
        (tracks_arrays(ids=array("int64", -2)), "shape of 1 lengths"),
        (tracks_arrays(ids=array("int64", 2, 1)), "shape of 1 lengths"),
        (tracks_arrays(ids=array("float64", 2)), "expected dtype int64"),
        (tracks_arrays(ids=None), "expected dtype int64"),
        (tracks_arrays(xyxy=array("float32", 4, 2)), "expected shape"),
        (tracks_arrays(xyxy=array("float32", 1, 8)), "expected shape"),
        ({**encode(tracked_frame()), b"a:confidence": np.array([0.5, np.nan], "<f4").tobytes()}, "not finite"),
        ({k: v for k, v in encode(clip()).items() if k != b"a:parts"}, "'a:parts' is missing"),
        ({**encode(clip()), b"a:embedding": np.zeros(16, "<f2").tobytes()}, "expected norm 1"),
        (with_head(clip(), arrays={}), "arrays: expected embedding"),
    ],
)
def test_a_message_that_cannot_be_right_is_refused_with_its_reason(wrong: dict[bytes, bytes], why: str) -> None:
    with pytest.raises(DecodeError) as refused:
        decode(wrong)
    assert why in str(refused.value)
    assert len(str(refused.value)) < 300


@pytest.mark.parametrize(
    "message",
    [
        replace(clip(), quality=float("nan")),
        replace(clip(), parts=np.full((4, 8), 1e6, np.float32)),
        replace(
            tracked_frame(),
            tracks=Tracks(np.zeros(1, int), np.full((1, 4), np.inf, np.float32), np.zeros(1, np.float32)),
        ),
        replace(tick(), camera_id="a b"),
        replace(reference(), image="/absolute.png"),
        replace(event(), via=("hall", 3)),  # type: ignore[arg-type]
        replace(event(), kind="vanished"),  # type: ignore[arg-type]
    ],
)
def test_what_no_receiver_would_take_is_not_sent(message: BusMessage) -> None:
    with pytest.raises((ValueError, TypeError)):
        encode(message)


def test_something_that_is_no_message_is_not_sent() -> None:
    with pytest.raises(ValueError, match="expected one of clip"):
        encode("text")  # type: ignore[arg-type]


def test_numpy_scalars_in_a_message_are_sent_as_plain_numbers() -> None:
    received = decode(encode(Tick("door", "1", np.int64(4), np.float32(0.5))))  # type: ignore[arg-type]
    assert received == Tick("door", "1", 4, 0.5)


def test_the_head_is_compact_and_its_keys_are_sorted() -> None:
    assert encode(tick()) == {
        b"v": b"3",
        b"k": b"tick",
        b"h": b'{"arrays":{},"camera_id":"door","epoch":"1","processed_until_s":0.5,"sequence":1,"visible":[3,5]}',
    }
