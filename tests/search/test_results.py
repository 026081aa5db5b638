"""Results as text, JSON, page and contact sheet; and where their pictures come from."""

import json
import re

import cv2
import numpy as np
import pytest
from search_examples import MODEL, RED, clip, event, key, linked, pointer, site

from pipeline.background.kept_frames import FrameKeeper
from pipeline.search.contact_sheet import draw_sheet, write_sheet
from pipeline.search.history import History
from pipeline.search.nearest import Filter, nearest_rows
from pipeline.search.pages import write_page
from pipeline.search.pictures import Pictures
from pipeline.search.ranking import Query, rank_people
from pipeline.search.results import as_json, found_section, identity_section, section_text
from pipeline.search.sources import rows_in_memory
from pipeline.types import Frame, Tracks


@pytest.fixture
def told():
    events, features = site()
    history = History.of(events, features)
    return history, features, Pictures(None, history, features)


def found(told, threshold=None, top=10, picture=None, same_as=0):
    history, features, pictures = told
    query = Query(RED[None], np.ones(1, np.float32))
    ranking = rank_people(features, history, query, search=nearest_rows, wanted=Filter())
    return found_section("a.jpg", picture, ranking, history, pictures, top=top, threshold=threshold, same_as=same_as)


def paint(path, colour, size=(30, 60)):
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((size[1], size[0], 3), colour, np.uint8))


# -- text


def test_what_was_found_as_text(told):
    assert (
        section_text(found(told, threshold=0.4))
        == """\
a.jpg
  1. #1   distance 0.000   within the matcher's threshold
       door  0:02.0 to 0:08.4 (6.4 s)  0.003
       door  0:40.0 to 0:43.0 (3.0 s)  0.003
       hall  0:12.0 to 0:13.0 (1.0 s)  0.030
  2. #2   distance 0.879
       door  0:02.5 to 0:06.0 (3.5 s)  0.879
  3. no identity (door, track 4)   distance 1.000
       door  0:50.0 to 0:51.0 (1.0 s)  1.000
     8 clips compared; 3 of 3 people shown"""
    )


def test_where_an_identity_was_as_text(told):
    history, _, pictures = told
    assert (
        section_text(identity_section(1, history, pictures))
        == """\
Where #1 was seen
     merged into it: #4
       door  0:02.0 to 0:08.4 (6.4 s)  entered door
       hall  0:12.0 to 0:13.0 (1.0 s)  entered hall, as #4 then
       door  0:40.0 to 0:43.0 (3.0 s)  returned to door after 32 s
     3 visits in 2 cameras"""
    )


def test_only_the_first_are_shown_and_the_others_counted(told):
    section = found(told, top=1)
    assert len(section.cards) == 1 and section.remark == "8 clips compared; 1 of 3 people shown"


def test_who_was_seen_beside_the_one_asked_for_is_somebody_else(told):
    notes = {card.identity_id: card.note for card in found(told, threshold=2.0, same_as=1).cards}
    assert notes[2] == "somebody else: both were in door at the same time"
    assert notes[0] == "within the matcher's threshold"


def test_filters_that_nothing_passes_are_said(told):
    history, features, pictures = told
    wanted = Filter(since_s=1e6)
    ranking = rank_people(
        features, history, Query(RED[None], np.ones(1, np.float32)), search=nearest_rows, wanted=wanted
    )
    section = found_section("a.jpg", None, ranking, history, pictures, top=9, threshold=None)
    assert section_text(section) == "a.jpg\n     no stored clip passes the filters"


def test_many_tracks_are_counted_and_not_listed():
    events = [event(n, "reentered", 1, key(n), 10.0 * n, absent_s=5.0) for n in range(1, 20)]
    features = rows_in_memory(MODEL, [clip(key(n), n, RED, 10.0 * n) for n in range(1, 20)])
    history = History.of(events, features)
    card = found((history, features, Pictures(None, history, features))).cards[0]
    assert len(card.places) == 12 and card.more == 7


# -- JSON


def test_the_result_for_programs_has_everything_but_pictures(told):
    value = json.loads(json.dumps(as_json([found(told)], {"image": "a.jpg"}, "because")))
    assert value["schema"] == 1 and value["asked"] == {"image": "a.jpg"} and value["why"] == "because"
    first, _, stranger = value["sections"][0]["people"]
    assert (first["identity_id"], first["distance"]) == (1, 0.0)
    assert first["places"][0] == {
        "camera_id": "door",
        "tracks": [{"epoch": "1", "track_id": 1}],
        "start_s": 2.0,
        "end_s": 8.4,
        "distance": 0.0032,
        "how": "",
    }
    assert stranger["identity_id"] == 0 and stranger["places_left_out"] == 0


# -- pictures


def test_a_tracks_picture_is_the_crop_that_its_event_points_to(tmp_path):
    events = [
        event(1, "entered", 1, key(1), 2.0, frame=pointer(key(1), 2.8), evidence=linked()),
        event(2, "entered", 2, key(2), 2.0, frame=pointer(key(2), 2.8), evidence=linked()),
    ]
    history = History.of(events)
    paint(tmp_path / "crops" / "1" / "door_2.800_0.500.jpg", 40)
    paint(tmp_path / "crops" / "1" / "door_9.000_0.900.jpg", 90)  # of another track
    paint(tmp_path / "crops" / "2" / "door_2.800_0.400.jpg", 200)  # the same moment, another person
    pictures = Pictures(tmp_path, history, rows_in_memory(MODEL, []))
    assert pictures.of_track(key(1)).mean() == pytest.approx(40, abs=2)
    assert pictures.of_track(key(2)).mean() == pytest.approx(200, abs=2)
    assert pictures.of_track(key(3)) is None
    assert Pictures(None, history, rows_in_memory(MODEL, [])).of_track(key(1)) is None


def test_without_a_crop_the_workers_own_frame_serves_while_it_lasts(tmp_path):
    image = np.zeros((200, 300, 3), np.uint8)
    image[50:150, 100:140] = 222
    keeper = FrameKeeper(tmp_path, "door", "replay")
    boxes = np.array([[100, 50, 140, 150]], np.float32)
    keeper.observe(Frame("door", "1", 7, 3.0, image), Tracks(np.array([5]), boxes, np.ones(1)), {5: 0.8})
    frame = keeper.pointer(5)
    features = rows_in_memory(MODEL, [clip(key(5), 1, RED, 3.0, frame=frame), clip(key(6), 2, RED, 3.0)])
    history = History.of([event(1, "entered", 1, key(5), 3.0)], features)
    cut_out = Pictures(tmp_path, history, features).of_track(key(5))
    assert cut_out.shape[:2] == (112, 44) and cut_out.mean() > 150
    assert Pictures(tmp_path, history, features).of_track(key(6)) is None
    (tmp_path / frame.file).unlink()
    assert Pictures(tmp_path, history, features).of_track(key(5)) is None


def test_a_damaged_crop_is_passed_over(tmp_path):
    history = History.of([event(1, "entered", 1, key(1), 2.0, frame=pointer(key(1), 2.8))])
    path = tmp_path / "crops" / "1" / "door_2.800_0.500.jpg"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"no picture")
    assert Pictures(tmp_path, history, rows_in_memory(MODEL, [])).of_track(key(1)) is None


# -- page and contact sheet


def with_pictures(tmp_path):
    frames = {1: 2.8, 2: 2.9, 3: 40.5}
    events, features = site()
    events += [
        event(9 + n, "continued", 2 if n == 2 else 1, key(n), at_s, frame=pointer(key(n), at_s))
        for n, at_s in frames.items()
    ]
    for n, at_s in frames.items():
        paint(tmp_path / "crops" / ("2" if n == 2 else "1") / f"door_{at_s:.3f}_0.500.jpg", 60 * n)
    history = History.of(events, features)
    return history, features, Pictures(tmp_path, history, features)


def test_the_page_stands_alone_and_escapes_what_it_shows(tmp_path):
    told = with_pictures(tmp_path)
    section = found(told, threshold=0.4, picture=np.zeros((40, 20, 3), np.uint8))
    write_page(tmp_path / "deep" / "page.html", "<b>", [section], why="1 < 2")
    page = (tmp_path / "deep" / "page.html").read_text()
    assert "<b>" not in page and "&lt;b&gt;" in page and "1 &lt; 2" in page
    assert page.count("data:image/jpeg") == 4  # whom was asked for, and three tracks
    assert not re.search(r"<script|https?://(?!www\.w3)", page)
    assert "#1" in page and "0:02.0" in page and "no identity" in page


def test_the_contact_sheet_shows_the_pictures_of_everybody(tmp_path):
    told = with_pictures(tmp_path)
    section = found(told, picture=np.full((40, 20, 3), 7, np.uint8))
    sheet = draw_sheet("Search", [section])
    for colour in (7, 60, 120, 180):  # whom was asked for, and the three tracks
        assert (np.abs(sheet.astype(int) - colour) <= 2).all(axis=2).sum() > 60 * 100
    write_sheet(tmp_path / "sheet.png", "Search", [section])
    assert cv2.imread(str(tmp_path / "sheet.png")).shape == sheet.shape


def test_a_sheet_of_nothing_is_its_title():
    assert draw_sheet("Search", []).shape[1:] == (1120, 3)
