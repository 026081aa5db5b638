import json
from dataclasses import replace

import pytest
from ordered_site import RED, RunningMatcher, clip, files_of, key, log_of, messages_in

from pipeline.bus.lines import event_to_json
from pipeline.bus.state import Lease
from pipeline.bus.streams import CLIPS, IDENTITIES
from pipeline.commands.forget import forget
from pipeline.commands.site_writer import Patience
from pipeline.config import BusConfig, Config
from pipeline.errors import BusUnavailable, ConfigError, OutputError
from pipeline.replay.export_tracklets import tracklet_folder
from pipeline.resolution import IdentityBook
from pipeline.runtime.feature_store import FeatureStore, erase_tracks
from pipeline.types import ClipFeature, Forget, IdentityEvent, Rename, Tick, TrackKey

# -- files


def event(sequence, identity_id, kind="entered", camera="door", track=1, **others):
    key = TrackKey(camera, "1", track)
    return IdentityEvent(sequence, kind, identity_id, key, float(sequence), sequence + 0.5, **others)


@pytest.fixture
def out_dir(tmp_path):
    """What a run of two people at one door left."""
    out = tmp_path / "out"
    (out / "tracks").mkdir(parents=True)
    (out / "tracks_online").mkdir()
    rows = "1,1,10.00,10.00,20.00,40.00,0.900,-1,-1,-1\n1,2,80.00,10.00,20.00,40.00,0.900,-1,-1,-1\n"
    (out / "tracks" / "door.txt").write_text(rows)
    (out / "tracks_online" / "door.txt").write_text(rows)
    events = [event(1, 1), event(2, 2, track=2), event(3, 1, "left")]
    (out / "identities.jsonl").write_text("".join(event_to_json(e) + "\n" for e in events))
    (out / "crops" / "1").mkdir(parents=True)
    (out / "crops" / "1" / "a.jpg").write_bytes(b"x")
    (out / "run.json").write_text(json.dumps({"site": "lobby", "frames": {"door": 1}}))
    return out


def test_a_person_goes_from_every_file_and_the_others_stay(out_dir, said):
    assert forget(1, config=None, out_dir=out_dir, echo=said.append) == 0
    assert [(e.sequence, e.kind, e.identity_id) for e in log_of(out_dir)] == [(2, "entered", 2), (4, "forgotten", 1)]
    assert (out_dir / "tracks" / "door.txt").read_text().startswith("1,2,80.00")
    assert not (out_dir / "crops" / "1").exists()
    assert "identity 1: removed from" in said[0]


def test_the_report_is_written_again_without_the_person(out_dir, said):
    (out_dir / "report.html").write_text("pictures of everybody")
    forget(1, config=None, out_dir=out_dir, echo=said.append)
    page = (out_dir / "report.html").read_text()
    assert "pictures of everybody" not in page and "lobby" in page


def test_forgetting_twice_changes_nothing_more(out_dir, said):
    forget(1, config=None, out_dir=out_dir, echo=said.append)
    before = files_of(out_dir)
    assert forget(1, config=None, out_dir=out_dir, echo=said.append) == 0
    assert files_of(out_dir) == before
    assert "not known here" in said[-1]


def test_an_unknown_identity_says_so_and_touches_nothing(out_dir, said):
    before = files_of(out_dir)
    assert forget(99, config=None, out_dir=out_dir, echo=said.append) == 0
    assert files_of(out_dir) == before and "identity 99 is not known here" in said[-1]


def test_those_who_were_merged_are_one_person(out_dir, said):
    with (out_dir / "identities.jsonl").open("a") as log:
        log.write(event_to_json(event(4, 1, "merged", other_identity_id=2)) + "\n")
    forget(2, config=None, out_dir=out_dir, echo=said.append)
    assert [(e.sequence, e.kind, e.identity_id) for e in log_of(out_dir)] == [(5, "forgotten", 1), (6, "forgotten", 2)]
    assert (out_dir / "tracks" / "door.txt").read_text() == ""


def test_features_and_exported_pictures_of_the_person_go_and_those_of_others_stay(out_dir, said):
    store = FeatureStore(out_dir)
    for sequence, track in ((1, 1), (2, 2), (3, 1)):
        store.add(clip(sequence, track, RED, float(sequence)))
    store.close()
    pictures = [out_dir / "own" / "7" / tracklet_folder(key(track)) / "0001.jpg" for track in (1, 2)]
    for picture in pictures:
        picture.parent.mkdir(parents=True)
        picture.write_bytes(b"x")
    forget(1, config=None, out_dir=out_dir, echo=said.append)
    assert "2 features" in said[0] and "1 exported pictures" in said[0]
    assert erase_tracks(out_dir, {key(1)}) == 0 and erase_tracks(out_dir, {key(2)}) == 1
    assert [picture.exists() for picture in pictures] == [False, True]


def test_a_track_that_the_person_was_only_taken_for_stays_with_whose_it_is(out_dir, said):
    with (out_dir / "identities.jsonl").open("a") as log:
        log.write(event_to_json(event(4, 2, "reassigned", track=1, other_identity_id=1)) + "\n")
    forget(1, config=None, out_dir=out_dir, echo=said.append)
    assert IdentityBook(log_of(out_dir)).tracks() == {key(1): 2, key(2): 2}


@pytest.mark.parametrize("run", ["", "not JSON", "[]", '{"frames": 3}', '{"frames": {"door": "x"}}'])
def test_a_damaged_run_json_does_not_stop_it(out_dir, said, run):
    (out_dir / "run.json").write_text(run)
    assert forget(1, config=None, out_dir=out_dir, echo=said.append) == 0
    assert all(e.identity_id != 1 or e.kind == "forgotten" for e in log_of(out_dir))


def test_nothing_to_erase_from_is_a_mistake_of_the_command_line(tmp_path, said):
    with pytest.raises(ConfigError, match=r"bus\.url"):
        forget(1, config=Config(), out_dir=None, echo=said.append)
    with pytest.raises(ConfigError, match="from 1"):
        forget(0, config=None, out_dir=tmp_path, echo=said.append)
    with pytest.raises(OutputError, match="no folder"):
        forget(1, config=None, out_dir=tmp_path / "nowhere", echo=said.append)


# -- Redis


def assert_only_blue_is_left(running):
    assert "identity:1" not in running.store.load() and "identity:2" in running.store.load()
    left = messages_in(running.bus, IDENTITIES)
    assert [(e.kind, e.identity_id) for e in left] == [("entered", 2), ("forgotten", 1)]
    clips = [m for m in messages_in(running.bus, CLIPS) if isinstance(m, ClipFeature)]
    assert {m.key.track_id for m in clips} == {2}


def test_without_a_running_matcher_its_step_is_taken_in_its_place(site, two_people, said):
    assert forget(1, config=site, out_dir=None, echo=said.append) == 0
    assert_only_blue_is_left(two_people)
    assert "no matcher runs" in said[0]
    Lease(two_people.bus, "the next one").acquire()  # it was given back


def test_a_matcher_that_starts_later_does_not_learn_the_person_from_the_open_track(site, two_people, said):
    forget(1, config=site, out_dir=None, echo=said.append)
    later = RunningMatcher(site)
    later.bus.publish(CLIPS, clip(6, 1, RED, 2.4))
    later.bus.publish(CLIPS, Tick("door", "1", 7, 5.0))
    later.step()
    assert later.events == [] and "identity:1" not in later.store.load()


def test_a_running_matcher_is_told_and_waited_for(site, two_people, said):
    with two_people.running():
        assert forget(1, config=site, out_dir=None, echo=said.append) == 0
    assert_only_blue_is_left(two_people)
    assert "by the running matcher" in said[0]


def test_a_matcher_that_does_not_answer_is_an_error_and_the_order_waits_for_it(site, two_people, said):
    Lease(two_people.bus, "hangs").acquire()
    times = iter([0.0, 5.0, 20.0])
    with pytest.raises(BusUnavailable, match="run forget again"):
        forget(
            1,
            config=site,
            out_dir=None,
            echo=said.append,
            patience=Patience(10, lambda: next(times), lambda _s: None),
        )
    orders = [m for m in messages_in(two_people.bus, CLIPS) if isinstance(m, Forget)]
    assert [(o.identity_id, o.sequence) for o in orders] == [(1, 1)] and orders[0].epoch.startswith("operator-")


def test_on_the_bus_forgetting_twice_and_forgetting_nobody_say_so(site, two_people, said):
    forget(1, config=site, out_dir=None, echo=said.append)
    forget(1, config=site, out_dir=None, echo=said.append)
    assert "identity 1 is not known here" in said[-1]
    forget(99, config=site, out_dir=None, echo=said.append)
    assert "identity 99 is not known here" in said[-1]
    assert_only_blue_is_left(two_people)


def test_a_site_without_any_state_is_no_error(site, said):
    assert forget(1, config=site, out_dir=None, echo=said.append) == 0
    assert "not known here" in said[-1]


def test_a_redis_that_is_away_is_one_line_without_its_password(site, said):
    away = replace(site, bus=BusConfig(url="redis://:geheim@127.0.0.1:1/0"))
    with pytest.raises(BusUnavailable) as caught:
        forget(1, config=away, out_dir=None, echo=said.append)
    assert "geheim" not in str(caught.value) and "\n" not in str(caught.value)


def test_bus_and_files_go_in_one_call(site, two_people, out_dir, said):
    assert forget(1, config=site, out_dir=out_dir, echo=said.append) == 0
    assert_only_blue_is_left(two_people)
    assert (out_dir / "tracks" / "door.txt").read_text().startswith("1,2,")


def test_what_redis_knows_of_the_persons_tracks_reaches_the_files(site, two_people, out_dir, said):
    """The folder's log lost its lines about the person; the site still knows the tracks."""
    store = FeatureStore(out_dir)
    store.add(clip(1, 1, RED, 1.0))
    store.close()
    (out_dir / "identities.jsonl").write_text(event_to_json(event(2, 2, track=2)) + "\n")
    forget(1, config=site, out_dir=out_dir, echo=said.append)
    assert erase_tracks(out_dir, {key(1)}) == 0 and any("1 features" in line for line in said)


def test_a_persons_name_leaves_redis(site, two_people, said):
    two_people.bus.publish(CLIPS, Rename(1, "Ann", 1, epoch="operator-x"))
    two_people.step()
    forget(1, config=site, out_dir=None, echo=said.append)
    everything = two_people.bus.client.xrange(f"mcp:{{{site.site}}}:clips")
    assert "Ann" not in repr(everything) and "Ann" not in repr(two_people.store.load())
