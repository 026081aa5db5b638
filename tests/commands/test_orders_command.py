"""rename, merge and split by hand: over the bus, and in a recorded run."""

import logging
from dataclasses import replace

import numpy as np
import pytest
from ordered_site import GREEN, RunningMatcher, clip, files_of, key, log_of, messages_in

from pipeline.bus.lines import event_to_json
from pipeline.bus.state import Lease
from pipeline.bus.streams import CLIPS, IDENTITIES, MATCHER_GROUP
from pipeline.commands.order_events import MAX_NAME, checked_name, read_track, shown_track
from pipeline.commands.orders import merge, rename, split
from pipeline.commands.site_writer import Patience
from pipeline.config import BusConfig, Config
from pipeline.errors import BusUnavailable, ConfigError, OutputError
from pipeline.resolution import IdentityBook
from pipeline.runtime.recorder import RunRecorder
from pipeline.types import FramePointer, IdentityEvent, Merge, Split, Tick, TrackKey, Tracklet


@pytest.fixture
def order(said):
    """Commands with the usual arguments."""

    def give(command, *arguments, config=None, out=None, **others):
        return command(*arguments, config=config, out_dir=out, echo=said.append, **others)

    return give


# -- arguments


@pytest.mark.parametrize("name", ["Ann", "  Ann  ", "Ünsal Øst", "客人 12", "ژاله", "x" * MAX_NAME])
def test_names_of_any_script_are_taken_without_the_space_around_them(name):
    assert checked_name(name) == name.strip()


def test_an_empty_name_takes_the_name_away():
    assert checked_name("") is None and checked_name("  ") is None


@pytest.mark.parametrize("name", ["a\nb", "a\x00", "\x1b[2J", "a\u2028b", "a\u202egpj", "\ud800", "x" * (MAX_NAME + 1)])
def test_a_name_that_is_no_line_of_text_is_refused_without_being_repeated(name):
    with pytest.raises(ConfigError) as refused:
        checked_name(name)
    assert name not in str(refused.value)


@pytest.mark.parametrize("track", [TrackKey("door", "1", 3), TrackKey("a-b", "2026:x:y-1", 0)])
def test_a_track_is_read_as_it_is_shown(track):
    assert read_track(shown_track(track)) == track


@pytest.mark.parametrize(
    "text", ["", "door", "door:1", "door:1:", "door:1:x", ":1:3", "door::3", "door:1:-3", "door:1:³"]
)
def test_what_names_no_track_is_refused(text):
    with pytest.raises(ConfigError, match="camera:epoch:track"):
        read_track(text)


def test_orders_that_make_no_sense_are_refused_before_anything_is_looked_at(order, tmp_path):
    for command, arguments in [
        (merge, (3, 3)),
        (merge, (0, 1)),
        (merge, (1, 0)),
        (rename, (0, "Ann")),
        (split, (1, [], None)),
        (split, (1, ["door:1:1"], 1)),
        (split, (1, ["door:1:1"], -2)),
    ]:
        with pytest.raises(ConfigError):
            order(command, *arguments, out=tmp_path)
    with pytest.raises(ConfigError, match=r"bus\.url"):
        order(rename, 1, "Ann", config=Config())
    with pytest.raises(OutputError, match="no identity log"):
        order(rename, 1, "Ann", out=tmp_path)


# -- a recorded run


def entered(sequence, identity_id, track, at_s, kind="entered", **others):
    frame = FramePointer("h", "door", at_s + 0.5, f"kept/door/{track}.jpg")
    return IdentityEvent(sequence, kind, identity_id, key(track), at_s, at_s + 1.0, frame=frame, **others)


def tracklet(track, first, x):
    frames = np.arange(first, first + 3)
    boxes = np.array([[x, 20.0, x + 30.0, 80.0]] * 3)
    return Tracklet(key(track), 1, frames[-1] / 10, True, frames, frames / 10, boxes, np.full(3, 0.5 + track / 10))


@pytest.fixture
def out_dir(tmp_path):
    """Identity 1 in the tracks 1 and 3, which overlap in one frame; identity 2 in track 2; track 4 is nobody."""
    out = tmp_path / "out"
    recorder = RunRecorder(out, ["door"], crops=None, references=None)
    for event in (entered(1, 1, 1, 0.0), entered(2, 2, 2, 0.1), entered(3, 1, 3, 0.2, kind="continued")):
        recorder.event(event)
    for one in (tracklet(1, 0, 10), tracklet(2, 1, 100), tracklet(3, 2, 200), tracklet(4, 0, 300)):
        recorder.tracklet(one)
    recorder.close()
    for identity_id, at_s in ((1, 0.5), (2, 0.6), (1, 0.7)):
        crop = out / "crops" / str(identity_id) / f"door_{at_s:.3f}_0.800.jpg"
        crop.parent.mkdir(parents=True, exist_ok=True)
        crop.write_bytes(b"picture")
    (out / "references").mkdir()
    (out / "references" / "references.jsonl").write_text(
        '{"schema":3,"camera_id":"door","captured_at_s":0.7,"image":"a","mask":"b","identity_id":1,'
        '"subjects":[{"identity_id":1,"value":1},{"identity_id":2,"value":2},{"identity_id":0,"value":3}]}\n'
    )
    return out


def ids(out, folder="tracks"):
    rows = (out / folder / "door.txt").read_text().splitlines()
    return [tuple(map(int, row.split(",")[:2])) for row in rows]


def by_x(out):
    """Where the boxes are → whose they are."""
    rows = [row.split(",") for row in (out / "tracks" / "door.txt").read_text().splitlines()]
    found = {}
    for row in rows:
        found.setdefault(int(float(row[2])), set()).add(int(row[1]))
    return found


def crops(out):
    return {int(p.name): sorted(f.name.split("_")[1] for f in p.iterdir()) for p in (out / "crops").iterdir()}


def test_a_merge_in_a_folder_is_an_event_and_reaches_every_file(out_dir, order, said):
    assert order(merge, 2, 1, out=out_dir) == 0
    last = log_of(out_dir)[-1]
    assert (last.sequence, last.kind, last.identity_id, last.other_identity_id, last.by) == (
        4,
        "merged",
        2,
        1,
        "operator",
    )
    assert by_x(out_dir) == {10: {1}, 100: {1}, 200: {1}, 300: {1_000_000}}
    assert crops(out_dir) == {1: ["0.500", "0.600", "0.700"]}
    assert (
        '"subjects":[{"identity_id":1,"value":1},{"identity_id":1,"value":2}'
        in (out_dir / "references" / "references.jsonl").read_text()
    )
    assert (out_dir / "report.html").exists()
    assert "identity 2 is 1 from now on" in said[0]


def test_of_two_boxes_of_the_merged_person_in_a_frame_the_surer_one_stays_until_they_are_parted(out_dir, order):
    before = (out_dir / "tracks" / "door.txt").read_text()
    order(merge, 2, 1, out=out_dir)
    assert ids(out_dir) == [(1, 1), (1, 10**6), (2, 1), (2, 10**6), (3, 1), (3, 10**6), (4, 1), (5, 1)]
    order(split, 1, ["door:1:2"], None, out=out_dir)
    assert by_x(out_dir) == {10: {1}, 100: {3}, 200: {1}, 300: {1_000_000}}
    assert (out_dir / "tracks" / "door.txt").read_text().replace(",3,100", ",2,100") == before


def test_a_split_in_a_folder_makes_somebody_whose_number_nobody_had(out_dir, order, said):
    assert order(split, 1, ["door:1:3"], None, out=out_dir) == 0
    assert [(e.kind, e.identity_id, e.other_identity_id, e.key) for e in log_of(out_dir)[3:]] == [
        ("split", 3, 1, key(3))
    ]
    assert by_x(out_dir) == {10: {1}, 100: {2}, 200: {3}, 300: {1_000_000}}
    assert ids(out_dir).count((3, 3)) == 1  # the box that identity 1 could not have twice is back
    assert crops(out_dir) == {1: ["0.500"], 2: ["0.600"], 3: ["0.700"]}
    line = (out_dir / "references" / "references.jsonl").read_text()
    assert '"identity_id":3,"subjects":[{"identity_id":3,"value":1},{"identity_id":2' in line


def test_tracks_can_be_given_to_somebody_who_is_known(out_dir, order):
    order(split, 1, ["door:1:3"], 2, out=out_dir)
    assert [(e.kind, e.identity_id, e.at_s) for e in log_of(out_dir)[3:]] == [("reassigned", 2, 0.2)]
    assert by_x(out_dir)[200] == {2} and crops(out_dir)[2] == ["0.600", "0.700"]
    order(split, 2, ["door:1:3"], 1, out=out_dir)
    assert by_x(out_dir)[200] == {1} and crops(out_dir)[1] == ["0.500", "0.700"]


def test_a_rename_is_in_the_log_and_on_the_page_and_nowhere_else(out_dir, order, said, caplog):
    caplog.set_level(logging.DEBUG)
    order(rename, 2, " Visitor Ünsal ", out=out_dir)
    assert [(e.kind, e.identity_id, e.name) for e in log_of(out_dir)[3:]] == [("renamed", 2, "Visitor Ünsal")]
    assert "Visitor Ünsal" in (out_dir / "report.html").read_text()
    assert "nsal" not in caplog.text and not any("nsal" in line for line in said)
    order(rename, 2, "", out=out_dir)
    assert IdentityBook(log_of(out_dir)).names() == {}


ORDERS = [(merge, (2, 1)), (split, (1, ["door:1:3"], None)), (split, (1, ["door:1:3"], 2)), (rename, (1, "Ann"))]


@pytest.mark.parametrize(("command", "arguments"), ORDERS)
def test_an_order_given_twice_changes_nothing_more(out_dir, order, said, command, arguments):
    order(command, *arguments, out=out_dir)
    before = files_of(out_dir)
    assert order(command, *arguments, out=out_dir) == 0
    assert files_of(out_dir) == before and "nothing more to change" in said[-1]


@pytest.mark.parametrize(("command", "arguments"), ORDERS)
def test_what_was_interrupted_after_the_log_was_written_is_finished(out_dir, order, tmp_path, command, arguments):
    before = {name: content for name, content in files_of(out_dir).items() if name != "identities.jsonl"}
    order(command, *arguments, out=out_dir)
    finished = files_of(out_dir)
    for path in [p for p in out_dir.rglob("*") if p.is_file() and p.name != "identities.jsonl"]:
        path.unlink()
    for name, content in before.items():
        (out_dir / name).parent.mkdir(parents=True, exist_ok=True)
        (out_dir / name).write_bytes(content)
    order(command, *arguments, out=out_dir)
    assert files_of(out_dir) == finished


@pytest.mark.parametrize(
    ("command", "arguments", "why"),
    [
        (merge, (9, 1), "identity 9 is not known"),
        (merge, (1, 9), "identity 9 is not known"),
        (rename, (9, "Ann"), "identity 9 is not known"),
        (split, (9, ["door:1:1"], None), "identity 9 is not known"),
        (split, (1, ["door:1:1"], 9), "identity 9 is not known"),
        (split, (1, ["door:1:2", "door:1:3"], None), "not tracks of identity 1: door:1:2$"),
        (split, (1, ["door:1:4"], 2), "not tracks of identity 1: door:1:4$"),
        (split, (1, ["hall:1:1"], None), "not tracks of identity 1: hall:1:1$"),
        (split, (1, ["door:1:1", "door:1:3"], None), "all tracks of identity 1"),
    ],
)
def test_what_cannot_be_done_in_a_folder_changes_nothing(out_dir, order, command, arguments, why):
    before = files_of(out_dir)
    with pytest.raises(ConfigError, match=why):
        order(command, *arguments, out=out_dir)
    assert files_of(out_dir) == before


def test_orders_about_merged_and_forgotten_people_mean_the_living(out_dir, order, said):
    order(merge, 2, 1, out=out_dir)
    order(rename, 2, "Ann", out=out_dir)
    assert log_of(out_dir)[-1].identity_id == 1
    with pytest.raises(ConfigError, match="are one since they were merged"):
        order(split, 1, ["door:1:3"], 2, out=out_dir)
    with (out_dir / "identities.jsonl").open("a") as log:
        log.write(event_to_json(IdentityEvent(9, "forgotten", 1, None, 9.0, 9.0)) + "\n")
    with pytest.raises(ConfigError, match="identity 1 was forgotten"):
        order(rename, 1, "Ann", out=out_dir)


def test_a_folder_without_local_tracks_is_merged_by_number_and_says_what_it_cannot_split(out_dir, order, said):
    (out_dir / "tracks_local" / "door.txt").unlink()
    order(merge, 2, 1, out=out_dir)
    assert by_x(out_dir) == {10: {1}, 100: {1}, 200: {1}, 300: {1_000_000}}
    order(split, 1, ["door:1:2"], None, out=out_dir)
    assert any("only merges can be applied" in line for line in said)


def test_a_folder_whose_run_goes_on_is_left_to_its_recorder(out_dir, order, said):
    (out_dir / "tracks" / ".journal").touch()
    before = files_of(out_dir)
    with pytest.raises(ConfigError, match="a run is being recorded"):
        order(merge, 2, 1, out=out_dir)
    assert files_of(out_dir) == before


# -- Redis


def told(running):
    return [
        (e.kind, e.identity_id, e.other_identity_id, e.key, e.name)
        for e in messages_in(running.bus, IDENTITIES)
        if e.by == "operator"
    ]


def test_without_a_running_matcher_an_order_is_carried_out_in_its_place(site, two_people, order, said):
    assert order(rename, 2, "Ann", config=site) == 0
    assert order(merge, 2, 1, config=site) == 0
    assert told(two_people)[0] == ("renamed", 2, None, None, "Ann")
    assert told(two_people)[1][:3] == ("merged", 2, 1)
    assert "(no matcher runs)" in said[0] and "Ann" not in "".join(said)
    assert "identity:2" not in two_people.store.load()
    Lease(two_people.bus, "the next one").acquire()  # it was given back


def test_a_running_matcher_is_told_and_waited_for(site, two_people, order, said):
    with two_people.running():
        assert order(split, 1, ["door:1:1"], 2, config=site) == 0
        assert order(rename, 2, "Ann", config=site) == 0
    assert told(two_people)[0] == ("reassigned", 2, 1, key(1), None)
    assert all("(by the running matcher)" in line for line in said)


def test_what_was_merged_can_be_split_again_into_somebody_new(site, two_people, order):
    order(merge, 2, 1, config=site)
    assert order(split, 1, ["door:1:2"], None, config=site) == 0
    assert told(two_people)[1] == ("split", 3, 1, key(2), None)


def test_an_order_given_twice_over_the_bus_says_so_and_tells_nobody(site, two_people, order, said):
    order(merge, 2, 1, config=site)
    before = told(two_people)
    order(merge, 2, 1, config=site)
    assert told(two_people) == before and "that is so already" in said[-1]
    order(rename, 2, "Ann", config=site)
    order(rename, 1, "Ann", config=site)
    assert len(told(two_people)) == 2


def test_an_order_that_a_killed_matcher_had_in_hand_is_carried_out_once(site, two_people, order):
    """Killed after it read the order, before its commit: the order was published, and is delivered again."""
    Lease(two_people.bus, "hangs").acquire()
    times = iter([0.0, 5.0, 20.0])
    with pytest.raises(BusUnavailable, match="run merge again"):
        order(merge, 2, 1, config=site, patience=Patience(10, lambda: next(times), lambda _s: None))
    assert [m.into_id for m in messages_in(two_people.bus, CLIPS) if isinstance(m, Merge)] == [1]
    two_people.bus.receive(CLIPS, MATCHER_GROUP, 0.0)  # in hand, and lost with the process
    successor = RunningMatcher(site)
    successor.step()
    assert [t[:3] for t in told(successor)] == [("merged", 2, 1)]
    for _ in range(2):
        again = RunningMatcher(site)
        again.step()
    assert [t[:3] for t in told(successor)] == [("merged", 2, 1)]


def test_an_order_that_waits_for_a_matcher_comes_before_a_later_one(site, two_people, order):
    """Nobody answers the first; the second is carried out in the matcher's place; the matcher then gets the first."""
    lease = Lease(two_people.bus, "hangs")
    lease.acquire()
    for name in ("Ann", "Bea"):
        impatient = Patience(10, iter([0.0, 5.0, 20.0]).__next__, lambda _s: None)
        with pytest.raises(BusUnavailable):
            order(rename, 2, name, config=site, patience=impatient)
    two_people.bus.receive(CLIPS, MATCHER_GROUP, 0.0, count=1)  # one is in hand, one is not given out
    lease.release()
    order(rename, 2, "Cleo", config=site)
    RunningMatcher(site).step()
    assert [name for *_, name in told(two_people)] == ["Ann", "Bea", "Cleo"]


@pytest.mark.parametrize(
    ("command", "arguments", "why"),
    [
        (merge, (9, 1), "identity 9 is not known"),
        (merge, (1, 9), "identity 9 is not known"),
        (rename, (9, "Ann"), "identity 9 is not known"),
        (split, (1, ["door:1:2"], None), "not tracks of identity 1: door:1:2$"),
        (split, (1, ["door:1:1"], 9), "identity 9 is not known"),
    ],
)
def test_what_cannot_be_done_at_a_site_tells_nobody(site, two_people, order, command, arguments, why):
    with pytest.raises(ConfigError, match=why):
        order(command, *arguments, config=site)
    assert told(two_people) == []
    assert not any(isinstance(m, Merge | Split) for m in messages_in(two_people.bus, CLIPS))


def test_a_site_without_any_state_knows_nobody(site, order):
    with pytest.raises(ConfigError, match="not known"):
        order(rename, 1, "Ann", config=site)


def test_a_redis_that_is_away_is_one_line_without_its_password(site, order):
    away = replace(site, bus=BusConfig(url="redis://:geheim@127.0.0.1:1/0"))
    with pytest.raises(BusUnavailable) as caught:
        order(rename, 1, "Ann", config=away)
    assert "geheim" not in str(caught.value) and "\n" not in str(caught.value)


# -- both


@pytest.fixture
def recorded_site(two_people, tmp_path):
    """The folder of a run that is over, of a site whose state lives on."""
    out = tmp_path / "site"
    recorder = RunRecorder(out, ["door"], crops=None, references=None)
    for event in two_people.events:
        recorder.event(event)
    for one in (tracklet(1, 0, 10), tracklet(2, 5, 100)):
        recorder.tracklet(one)
    recorder.close()
    return out


def test_the_folder_of_a_site_gets_what_the_site_decided(site, two_people, recorded_site, order):
    two_people.bus.publish(CLIPS, clip(6, 5, GREEN, 3.0, first_s=2.5))
    two_people.bus.publish(CLIPS, clip(7, 5, GREEN, 4.0, first_s=2.5))
    two_people.bus.publish(CLIPS, Tick("door", "1", 8, 9.0, visible=(1, 2, 5)))
    two_people.step()  # after the recorded run: the site's next number is not the folder's
    assert two_people.matcher is not None and 3 in {e.identity_id for e in two_people.events}
    order(split, 2, ["door:1:2"], 1, config=site, out=recorded_site)
    assert log_of(recorded_site)[-1].kind == "reassigned" and by_x(recorded_site) == {10: {1}, 100: {1}}
    before = files_of(recorded_site)
    order(split, 2, ["door:1:2"], 1, config=site, out=recorded_site)
    assert files_of(recorded_site) == before
    assert [e.sequence for e in log_of(recorded_site)] == [1, 2, 3]


def test_a_folder_that_missed_an_order_is_brought_up_to_it_later(site, two_people, recorded_site, order):
    order(merge, 2, 1, config=site)
    order(merge, 2, 1, config=site, out=recorded_site)
    assert log_of(recorded_site)[-1].kind == "merged" and by_x(recorded_site) == {10: {1}, 100: {1}}


def test_a_folder_of_other_people_is_left_as_it_is(site, two_people, out_dir, order, said):
    order(rename, 2, "Ann", config=site)
    (out_dir / "identities.jsonl").write_text(event_to_json(entered(1, 7, 1, 0.0)) + "\n")
    order(merge, 2, 1, config=site, out=out_dir)
    assert [e.identity_id for e in log_of(out_dir)] == [7]
