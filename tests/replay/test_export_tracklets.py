from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from pipeline.errors import DecodeError, OutputError, SourceLost
from pipeline.replay.export_tracklets import COUNTED, export_tracklets, require_empty
from pipeline.replay.frame_times import FrameTimeLog
from pipeline.replay.labelled_tracks import spread_out
from pipeline.runtime.recorder import IdentityBook, TrackWriter
from pipeline.scenes.scene import SceneCamera
from pipeline.scenes.walks import random_scenario
from pipeline.scoring.ground_truth import read_ground_truth
from pipeline.types import Frame, TrackKey, Tracklet
from reid.datasets.load import load_data_set

FPS = 10.0
BOX_A, BOX_B, BOX_C = (20, 30, 60, 130), (120, 30, 160, 130), (220, 30, 260, 130)


def tracklet(boxes, *, camera="door", number=1, epoch="1", start=0, every=1):
    """Boxes (T, 4) of frames start, start + every, …, as a finished track."""
    xyxy = np.asarray(boxes, np.float32)
    frames = start + every * np.arange(len(xyxy))
    key = TrackKey(camera, epoch, number)
    return Tracklet(key, 0, frames[-1] / FPS, False, frames, frames / FPS, xyxy, np.full(len(xyxy), 0.9))


def write_run(out_dir: Path, tracklets, frames=40, cameras=("door",)):
    """What a replay leaves behind, as far as the export reads it."""
    writer = TrackWriter(out_dir, cameras)
    for one in tracklets:
        writer.add(one)
    writer.close(IdentityBook())
    for camera in cameras:
        log = FrameTimeLog()
        for index in range(frames):
            log.add(index, index / FPS)
        log.write(out_dir, camera)
    return out_dir


def write_truth(folder: Path, people, annotated=None, camera="door"):
    """`people`: id -> boxes by frame index, or one box for 40 frames."""
    folder.mkdir(exist_ok=True)
    lines = []
    for person, boxes in people.items():
        by_frame = boxes if isinstance(boxes, dict) else dict.fromkeys(range(40), boxes)
        for index, (x1, y1, x2, y2) in by_frame.items():
            if annotated is None or index in annotated:
                lines.append(f"{index + 1},{person},{x1},{y1},{x2 - x1},{y2 - y1},1,1,1.0\n")
    (folder / f"{camera}.txt").write_text("".join(lines))
    if annotated is not None:
        (folder / "frames").mkdir(exist_ok=True)
        (folder / "frames" / f"{camera}.txt").write_text("".join(f"{index + 1}\n" for index in annotated))
    return read_ground_truth(folder, None)


class Footage:
    """Frames as bright as their number, counted as they are read."""

    def __init__(self, count=40, breaks_at=None, damaged=()):
        self.count, self.breaks_at, self.damaged = count, breaks_at, damaged
        self.read, self.closed = [], 0

    def frames(self, camera):
        try:
            for index in range(self.count):
                if index == self.breaks_at:
                    raise SourceLost("the file ends early")
                self.read.append(camera)
                image = np.full((180, 320, 3), index * 5, np.uint8)
                yield Frame(camera, "1", index, index / FPS, image, index in self.damaged)
        finally:
            self.closed += 1


def files(folder: Path):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.jpg"))


def counted(**written):
    """All counts, 0 where nothing is said; `_` stands for a space."""
    return dict.fromkeys(COUNTED, 0) | {name.replace("_", " "): count for name, count in written.items()}


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    """A generated site: the tracks are its people's stays, a pixel off, as a good tracker would give them."""
    folder = tmp_path_factory.mktemp("scene")
    scenario = random_scenario(4, 2, 14.0, seed=5)
    rng = np.random.default_rng(1)
    tracklets, people = [], {}
    for camera in scenario.cameras:
        rendered = SceneCamera(scenario, camera.id)
        seen = {}
        for index in range(len(rendered)):
            _, found = rendered.render(index)
            for person, box, visibility in zip(found.person_ids, found.xyxy, found.visibility, strict=True):
                if visibility >= 0.6:
                    seen.setdefault(int(person), {})[index] = tuple(box.tolist())
        write_truth(folder / "truth", seen, camera=camera.id)
        for person, boxes in seen.items():
            indices = np.array(sorted(boxes))
            for number, run in enumerate(np.split(indices, np.flatnonzero(np.diff(indices) > 1) + 1)):
                noisy = np.array([boxes[i] for i in run]) + rng.integers(-4, 5, (len(run), 4)) / 4  # px
                own = person * 100 + number
                tracklets.append(tracklet(noisy, camera=camera.id, number=own, start=int(run[0])))
                people[tracklets[-1].key] = person
    cameras = [camera.id for camera in scenario.cameras]
    out = write_run(folder / "out", tracklets, scenario.frame_count, cameras)
    truth = read_ground_truth(folder / "truth", cameras)
    return scenario, out, truth, tracklets, people


def frames_of(scenario):
    return lambda camera: SceneCamera(scenario, camera).frames()


def test_every_track_of_a_scene_becomes_a_tracklet_of_its_person(scene, tmp_path):
    scenario, out, truth, tracklets, people = scene
    counts = export_tracklets(out, truth, frames_of(scenario), tmp_path / "set")
    wanted = {f"{people[t.key]:04d}/{t.camera_id}/1-{t.key.track_id:04d}" for t in tracklets}
    assert len(wanted) >= 6 and len(set(people.values())) == 4
    assert {name.rsplit("/", 1)[0] for name in files(tmp_path / "set")} == wanted
    assert counts["tracklets"] == len(wanted) and counts["people"] == 4
    assert counts["pictures"] == len(files(tmp_path / "set"))
    assert all(count == 0 for name, count in counts.items() if name.startswith("tracks"))


def test_an_export_is_read_back_as_a_data_set(scene, tmp_path):
    scenario, out, truth, tracklets, people = scene
    counts = export_tracklets(out, truth, frames_of(scenario), tmp_path / "set")
    data = load_data_set("plain", tmp_path / "set")
    read = sorted((t.person_id, data.cameras[t.camera_id], t.images[0].parent.name) for t in data.gallery)
    assert read == sorted((people[t.key], t.camera_id, f"1-{t.key.track_id:04d}") for t in tracklets)
    assert sum(len(t.images) for t in data.gallery) == counts["pictures"]
    assert {t.person_id for t in data.query} == {
        person for person in people.values() if len({t.camera_id for t in tracklets if people[t.key] == person}) == 2
    }
    assert data.people == {}


def test_the_pictures_are_the_boxes_of_the_frames(scene, tmp_path):
    scenario, out, truth, tracklets, people = scene
    export_tracklets(out, truth, frames_of(scenario), tmp_path / "set", every_s=1.0)
    for one in tracklets[:4]:
        folder = tmp_path / "set" / f"{people[one.key]:04d}" / one.camera_id / f"1-{one.key.track_id:04d}"
        for path in sorted(folder.iterdir()):
            index = int(path.stem) - 1
            place = int(np.flatnonzero(one.frame_index == index)[0])
            frame, _ = SceneCamera(scenario, one.camera_id).render(index)
            height, width = frame.image.shape[:2]
            x1, y1, x2, y2 = np.rint(np.clip(one.xyxy[place], 0, [width, height, width, height])).astype(int)
            crop = cv2.imread(str(path))
            assert crop.shape[:2] == (y2 - y1, x2 - x1)
            assert np.abs(crop.astype(int) - frame.image[y1:y2, x1:x2]).mean() < 6


def test_two_exports_are_the_same_to_the_byte(scene, tmp_path):
    scenario, out, truth, _, _ = scene
    for name in ("a", "b"):
        export_tracklets(out, truth, frames_of(scenario), tmp_path / name, every_s=1.0)
    assert files(tmp_path / "a") == files(tmp_path / "b") != []
    assert all((tmp_path / "a" / f).read_bytes() == (tmp_path / "b" / f).read_bytes() for f in files(tmp_path / "a"))


@pytest.mark.parametrize(
    ("every_s", "frames"), [(0.0, range(1, 21)), (0.25, range(1, 21, 3)), (1.0, (1, 11)), (9, (1,))]
)
def test_pictures_are_at_least_every_s_apart(tmp_path, every_s, frames):
    out = write_run(tmp_path / "out", [tracklet([BOX_A] * 20)])
    truth = write_truth(tmp_path / "truth", {7: BOX_A})
    counts = export_tracklets(out, truth, Footage().frames, tmp_path / "set", every_s=every_s)
    assert files(tmp_path / "set") == [f"0007/door/1-0001/{n:06d}.jpg" for n in frames]
    assert counts == counted(tracklets=1, people=1, pictures=len(frames))


def test_times_decide_and_not_numbers_of_frames():
    assert spread_out(np.array([0.0, 0.24995, 0.3, 0.5, 2.0]), 0.25).tolist() == [0, 1, 3, 4]
    assert spread_out(np.zeros(0), 0.25).tolist() == []


def test_a_track_that_changes_its_person_is_left_out(tmp_path):
    out = write_run(tmp_path / "out", [tracklet([BOX_A] * 10 + [BOX_B] * 10)])
    truth = write_truth(tmp_path / "truth", {1: BOX_A, 2: BOX_B})
    footage = Footage()
    assert export_tracklets(out, truth, footage.frames, tmp_path / "set") == counted(tracks_of_several_people=1)
    assert footage.read == [], "nothing to cut, nothing to read"


def test_boxes_that_slip_to_somebody_else_for_a_moment_are_not_cut(tmp_path):
    out = write_run(tmp_path / "out", [tracklet([BOX_A] * 10 + [BOX_B] + [BOX_A] * 10)])
    truth = write_truth(tmp_path / "truth", {1: BOX_A, 2: BOX_B})
    export_tracklets(out, truth, Footage().frames, tmp_path / "set", every_s=0)
    assert [int(Path(f).stem) for f in files(tmp_path / "set")] == [*range(1, 11), *range(12, 22)]
    assert {f.split("/")[0] for f in files(tmp_path / "set")} == {"0001"}


def test_a_track_on_nobody_is_left_out(tmp_path):
    tracks = [tracklet([BOX_C] * 20), tracklet([BOX_A] * 9 + [BOX_C] * 11, number=2), tracklet([BOX_A] * 9, number=3)]
    out = write_run(tmp_path / "out", tracks[:2])
    truth = write_truth(tmp_path / "truth", {1: BOX_A})
    assert export_tracklets(out, truth, Footage().frames, tmp_path / "set") == counted(tracks_of_nobody=2)
    out = write_run(tmp_path / "again", tracks[2:])
    assert export_tracklets(out, truth, Footage().frames, tmp_path / "set")["tracklets"] == 1


def test_two_boxes_on_one_person_are_not_both_that_person(tmp_path):
    doubled = tuple(value + 4 for value in BOX_A)
    out = write_run(tmp_path / "out", [tracklet([BOX_A] * 20), tracklet([doubled] * 20, number=2)])
    truth = write_truth(tmp_path / "truth", {1: BOX_A})
    counts = export_tracklets(out, truth, Footage().frames, tmp_path / "set")
    assert counts["tracklets"] == 1 and counts["tracks of nobody"] == 1
    assert {f.split("/")[2] for f in files(tmp_path / "set")} == {"1-0001"}


def test_interpolated_boxes_are_not_cut(tmp_path):
    out = write_run(tmp_path / "out", [tracklet([BOX_A] * 5, every=4)])
    truth = write_truth(tmp_path / "truth", {1: BOX_A})
    export_tracklets(out, truth, Footage().frames, tmp_path / "set", every_s=0)
    assert [int(Path(f).stem) for f in files(tmp_path / "set")] == [1, 5, 9, 13, 17]


def test_boxes_between_annotated_frames_are_cut_where_both_show_the_person(tmp_path):
    boxes = [BOX_A] * 30 + [BOX_C] * 3
    out = write_run(tmp_path / "out", [tracklet(boxes)])
    truth = write_truth(tmp_path / "truth", {1: BOX_A}, annotated=[4, 8, 12, 16, 20, 24, 28, 32])
    export_tracklets(out, truth, Footage().frames, tmp_path / "set", every_s=0)
    assert [int(Path(f).stem) - 1 for f in files(tmp_path / "set")] == list(range(29)), "29 to 32 end on nobody"


def test_boxes_far_from_any_annotated_frame_are_not_cut(tmp_path):
    out = write_run(tmp_path / "out", [tracklet([BOX_A] * 30)])
    truth = write_truth(tmp_path / "truth", {1: BOX_A}, annotated=[10, 12, 39])
    export_tracklets(out, truth, Footage().frames, tmp_path / "set", every_s=0)
    assert [int(Path(f).stem) - 1 for f in files(tmp_path / "set")] == list(range(5, 18)), "0.5 s before and after"


def test_a_track_without_an_annotated_frame_is_left_out(tmp_path):
    out = write_run(tmp_path / "out", [tracklet([BOX_A] * 10)])
    truth = write_truth(tmp_path / "truth", {1: BOX_A}, annotated=[30, 31])
    counts = export_tracklets(out, truth, Footage().frames, tmp_path / "set")
    assert counts == counted(tracks_without_a_scored_box=1)


def test_distractors_of_the_ground_truth_are_nobody(tmp_path):
    out = write_run(tmp_path / "out", [tracklet([BOX_A] * 10)])
    truth = write_truth(tmp_path / "truth", {1: BOX_A, 2: BOX_B})
    text = (tmp_path / "truth" / "door.txt").read_text()
    (tmp_path / "truth" / "door.txt").write_text(text.replace(",1,20,30,40,100,1,1", ",1,20,30,40,100,0,1"))
    truth = read_ground_truth(tmp_path / "truth", None)
    assert export_tracklets(out, truth, Footage().frames, tmp_path / "set")["tracklets"] == 0


def test_cameras_without_ground_truth_are_counted_and_not_read(tmp_path):
    tracks = [tracklet([BOX_A] * 10, camera=camera, number=n) for n, camera in enumerate(("door", "hall", "hall"), 1)]
    out = write_run(tmp_path / "out", tracks, cameras=("door", "hall"))
    footage = Footage()
    counts = export_tracklets(out, write_truth(tmp_path / "truth", {1: BOX_A}), footage.frames, tmp_path / "set")
    assert counts["tracks of cameras without ground truth"] == 2 and counts["tracklets"] == 1
    assert set(footage.read) == {"door"}


def test_a_camera_is_read_once_up_to_the_last_picture_and_closed(tmp_path):
    out = write_run(tmp_path / "out", [tracklet([BOX_A] * 12), tracklet([BOX_B] * 5, number=2, start=9)])
    truth = write_truth(tmp_path / "truth", {1: BOX_A, 2: BOX_B})
    footage, steps = Footage(), []
    export_tracklets(out, truth, footage.frames, tmp_path / "set", on_frame=lambda: steps.append(1))
    assert len(footage.read) == len(steps) == 13 and footage.closed == 1


def test_a_source_that_breaks_off_leaves_what_was_cut_and_a_count(tmp_path, caplog):
    out = write_run(tmp_path / "out", [tracklet([BOX_A] * 10), tracklet([BOX_B] * 5, number=2, start=20)])
    truth = write_truth(tmp_path / "truth", {1: BOX_A, 2: BOX_B})
    footage = Footage(breaks_at=5)
    counts = export_tracklets(out, truth, footage.frames, tmp_path / "set", every_s=0)
    assert counts == counted(
        tracklets=1, people=1, pictures=5, pictures_whose_frame_did_not_come=10, tracks_without_a_picture_to_use=1
    )
    assert footage.closed == 1 and "ends early" in caplog.text
    assert not (tmp_path / "set" / "0002").exists()


def test_damaged_frames_and_tiny_boxes_give_no_picture(tmp_path):
    tiny = (200, 30, 215, 60)
    out = write_run(tmp_path / "out", [tracklet([BOX_A] * 4), tracklet([tiny] * 4, number=2)])
    truth = write_truth(tmp_path / "truth", {1: BOX_A, 2: tiny})
    counts = export_tracklets(out, truth, Footage(damaged=(1, 2)).frames, tmp_path / "set", every_s=0)
    assert counts == counted(
        tracklets=1,
        people=1,
        pictures=2,
        pictures_of_damaged_frames=4,
        pictures_too_small=2,
        tracks_without_a_picture_to_use=1,
    )


def test_a_box_over_the_edge_is_cut_at_the_edge(tmp_path):
    over = (-30, -20, 40, 120)
    out = write_run(tmp_path / "out", [tracklet([over] * 2)])
    export_tracklets(out, write_truth(tmp_path / "truth", {1: over}), Footage().frames, tmp_path / "set")
    (picture,) = (tmp_path / "set").rglob("*.jpg")
    assert cv2.imread(str(picture)).shape == (120, 40, 3)


def test_somebody_annotated_as_0_is_no_distractor(tmp_path):
    tracks = [tracklet([BOX_A] * 3), tracklet([BOX_B] * 3, number=2)]
    out = write_run(tmp_path / "out", tracks)
    export_tracklets(out, write_truth(tmp_path / "truth", {0: BOX_A, 12: BOX_B}), Footage().frames, tmp_path / "set")
    data = load_data_set("plain", tmp_path / "set")
    assert data.people == {1: "0012", 2: "person_0"}
    assert all(t.person_id > 0 for t in data.gallery)


def test_a_stranger_epoch_cannot_lead_out_of_the_folder(tmp_path):
    out = write_run(tmp_path / "out", [tracklet([BOX_A] * 3, epoch="../../x,y")])
    export_tracklets(out, write_truth(tmp_path / "truth", {1: BOX_A}), Footage().frames, tmp_path / "set")
    assert files(tmp_path / "set") == ["0001/door/______x_y-0001/000001.jpg"]


def test_a_replay_with_nobody_gives_an_empty_folder(tmp_path):
    out = write_run(tmp_path / "out", [])
    footage = Footage()
    counts = export_tracklets(out, write_truth(tmp_path / "truth", {1: BOX_A}), footage.frames, tmp_path / "set")
    assert counts == counted() and footage.read == []
    assert list((tmp_path / "set").iterdir()) == []


def test_a_thousand_tracks_are_judged_in_seconds(tmp_path):
    tracks = [
        tracklet([(x, y, x + 10, y + 40)] * 20, number=1 + x // 12 + 27 * (y // 45), start=0)
        for x in range(0, 320, 12)
        for y in range(0, 1800, 45)
    ]
    people = {t.key.track_id: tuple(int(v) for v in t.xyxy[0]) for t in tracks}
    out = write_run(tmp_path / "out", tracks)
    truth = write_truth(tmp_path / "truth", {p: dict.fromkeys(range(20), box) for p, box in people.items()})
    counts = export_tracklets(out, truth, Footage().frames, tmp_path / "set", every_s=9)
    assert len(tracks) > 1000
    assert counts["pictures"] + counts["pictures too small"] == len(tracks)


def test_a_folder_that_holds_something_is_refused(tmp_path):
    out = write_run(tmp_path / "out", [])
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "mine.txt").touch()
    with pytest.raises(OutputError, match="not empty"):
        export_tracklets(out, write_truth(tmp_path / "truth", {1: BOX_A}), Footage().frames, tmp_path / "set")


def test_a_folder_can_be_asked_about_before_anything_is_done(tmp_path):
    require_empty(tmp_path / "not" / "there")
    assert list(tmp_path.iterdir()) == [], "asking makes nothing"
    require_empty(tmp_path)
    (tmp_path / "file").touch()
    for folder in (tmp_path, tmp_path / "file"):
        with pytest.raises(OutputError, match="choose another"):
            require_empty(folder)


@pytest.mark.parametrize("place", ["set", "set/deeper"])
def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path, place):
    out = write_run(tmp_path / "out", [])
    (tmp_path / "set").touch()
    with pytest.raises(OutputError, match="set"):
        export_tracklets(out, write_truth(tmp_path / "truth", {1: BOX_A}), Footage().frames, tmp_path / place)


def test_a_folder_that_is_no_replay_is_refused(tmp_path):
    truth = write_truth(tmp_path / "truth", {1: BOX_A})
    with pytest.raises(DecodeError, match="tracks_local"):
        export_tracklets(tmp_path, truth, Footage().frames, tmp_path / "set")


@pytest.mark.parametrize("name", ["tracks_local/door.txt", "frame_times/door.txt"])
def test_a_damaged_file_of_the_replay_is_named(tmp_path, name):
    out = write_run(tmp_path / "out", [tracklet([BOX_A] * 3)])
    (out / name).write_text("not a number\n")
    with pytest.raises(DecodeError, match=Path(name).name):
        export_tracklets(out, write_truth(tmp_path / "truth", {1: BOX_A}), Footage().frames, tmp_path / "set")


def test_erased_tracks_are_not_exported(tmp_path):
    out = write_run(tmp_path / "out", [tracklet([BOX_A] * 3), tracklet([BOX_B] * 3, number=2)])
    keys = (out / "tracks_local" / "keys.csv").read_text().splitlines()
    (out / "tracks_local" / "keys.csv").write_text("\n".join(keys[:2]) + "\n")
    truth = write_truth(tmp_path / "truth", {1: BOX_A, 2: BOX_B})
    assert export_tracklets(out, truth, Footage().frames, tmp_path / "set")["people"] == 1


def test_the_size_of_frames_that_changes_is_no_fault(tmp_path):
    out = write_run(tmp_path / "out", [tracklet([BOX_A] * 4)])

    def frames_of(camera):
        for frame in Footage().frames(camera):
            small = frame.index >= 2
            yield replace(frame, image=frame.image[:100, :50].copy()) if small else frame

    export_tracklets(out, write_truth(tmp_path / "truth", {1: BOX_A}), frames_of, tmp_path / "set", every_s=0)
    shapes = [cv2.imread(str(path)).shape for path in sorted((tmp_path / "set").rglob("*.jpg"))]
    assert shapes == [(100, 40, 3), (100, 40, 3), (70, 30, 3), (70, 30, 3)]
