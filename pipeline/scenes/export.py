"""Writes a scene as files: pictures, ground truth, exact masks, a config that runs it, and the sheet of its people.

site.yaml                 a config for `load_config`
people.png                the sheet
<camera>.mp4              or <camera>/img1/000001.png … and <camera>/seqinfo.ini
gt/<camera>.txt           frame,id,x,y,w,h,consider,class,visibility ; frame and id from 1
gt/visits.csv             camera,person_id,visit,entry_frame,exit_frame,certainty
masks/<camera>/000001.png label map: 0 background, else the person's id; the number is the frame's
difficulty.json           only of a scene with difficulties: their strengths, and who looks like whom but for what
"""

import csv
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import av
import cv2
import numpy.typing as npt
import yaml

from pipeline.errors import OutputError
from pipeline.scenes.difficulty import Difficulty
from pipeline.scenes.people import people_sheet
from pipeline.scenes.scene import GroundTruth, SceneCamera
from pipeline.scenes.walks import Scenario
from pipeline.types import ImageArray

Progress = Callable[[int, int], None]

MIN_VISIBILITY = 0.2  # share: less of a person than this is not asked for (consider = 0)
MASK_EVERY = 5  # frames between two label maps
_PERSON_CLASS = 1  # MOTChallenge's pedestrian
_X264 = {
    "crf": "20",  # the sensor noise goes soft, nothing else; see docs/scenes.md for sizes
    "preset": "veryfast",
    "bf": "0",  # no B-frames: RTSP servers and readers get pictures in order
    "g": "50",  # a key frame every 5 s
}


class Visit(NamedTuple):
    """One stay in one camera's picture: first and last frame, from 1, in which at least MIN_VISIBILITY shows."""

    camera_id: str
    person_id: int
    visit: int
    entry_frame: int
    exit_frame: int


class TruthRow(NamedTuple):
    """One ground-truth row; `frame` from 1."""

    frame: int
    person_id: int
    xywh: tuple[float, float, float, float]
    visibility: float


@dataclass(frozen=True, slots=True)
class WrittenScene:
    """Where a scene was written."""

    folder: Path
    config: Path
    ground_truth: Path
    sheet: Path
    sources: dict[str, Path]


def write_scene(
    scenario: Scenario,
    out_dir: Path,
    *,
    images: bool = False,
    mask_every: int | None = MASK_EVERY,
    progress: Progress | None = None,
) -> WrittenScene:
    """Render every camera of the scenario into `out_dir`.

    Args:
        out_dir: made when absent; must be empty.
        images: lossless PNG folders instead of H.264 videos.
        mask_every: frames between two label maps, from frame 1; None: no label maps.
        progress: called after each frame with frames done and frames in all.

    Raises:
        OutputError: the folder holds something, or cannot be written.
        ValueError: `mask_every` below 1.
    """
    if mask_every is not None and mask_every < 1:
        raise ValueError(f"expected mask_every of at least 1, got {mask_every}")
    try:
        return _write(scenario, _empty_folder(Path(out_dir)), images, mask_every, _Counter(scenario, progress))
    except OSError as error:
        reason = error.strerror or error
        raise OutputError(f"cannot write the scene to {out_dir}: {reason}; choose another folder") from None


class _Counter:
    """Turns frames of several cameras into one progress."""

    def __init__(self, scenario: Scenario, progress: Progress | None) -> None:
        self._all = scenario.frame_count * len(scenario.cameras)
        self._done = 0
        self._progress = progress

    def step(self) -> None:
        self._done += 1
        if self._progress is not None:
            self._progress(self._done, self._all)


def _empty_folder(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise OutputError(f"{folder} is not empty; choose another folder for the scene")
    return folder


def _write(scenario: Scenario, folder: Path, images: bool, mask_every: int | None, counter: _Counter) -> WrittenScene:
    truth = folder / "gt"
    rows_of: dict[str, list[TruthRow]] = {}
    sources: dict[str, Path] = {}
    for camera in scenario.cameras:
        scene = SceneCamera(scenario, camera.id)
        sources[camera.id] = folder / (camera.id if images else f"{camera.id}.mp4")
        masks = folder / "masks" / camera.id
        if mask_every is not None:
            masks.mkdir(parents=True)
        rows = rows_of[camera.id] = []
        open_writer = _image_writer if images else _video_writer
        with open_writer(sources[camera.id], scene, scenario.fps) as write_image:
            for index in range(len(scene)):
                frame, seen = scene.render(index)
                write_image(index, frame.image)
                rows.extend(truth_rows(index + 1, seen))
                if mask_every is not None and index % mask_every == 0:
                    _write_png(masks / f"{index + 1:06d}.png", seen.labels)
                counter.step()
    write_truth(truth, rows_of)
    _write_png(folder / "people.png", people_sheet(scenario.people))
    _write_config(folder / "site.yaml", sources, mask_every is not None)
    if scenario.difficulty is not None:
        _write_difficulty(folder / "difficulty.json", scenario, scenario.difficulty)
    return WrittenScene(folder, folder / "site.yaml", truth, folder / "people.png", sources)


def truth_rows(frame_number: int, truth: GroundTruth) -> list[TruthRow]:
    """The rows of one frame, in order of id."""
    rows = []
    for person_id, (x1, y1, x2, y2), visibility in zip(
        truth.person_ids.tolist(), truth.xyxy.tolist(), truth.visibility.tolist(), strict=True
    ):
        rows.append(TruthRow(frame_number, person_id, (x1, y1, x2 - x1, y2 - y1), visibility))
    return sorted(rows)


def find_visits(camera_id: str, rows: Sequence[TruthRow]) -> list[Visit]:
    """Each person's stays in the picture, in order of person and time.

    A stay is a run of frames with a row; being hidden behind somebody does not end it.
    """
    visits: list[Visit] = []
    for person_id in sorted({row.person_id for row in rows}):
        own = [row for row in rows if row.person_id == person_id]
        runs: list[list[TruthRow]] = []
        for row in own:
            if not runs or row.frame != runs[-1][-1].frame + 1:
                runs.append([])
            runs[-1].append(row)
        seen = [[row.frame for row in run if row.visibility >= MIN_VISIBILITY] for run in runs]
        stays = [frames for frames in seen if frames]
        visits.extend(Visit(camera_id, person_id, n, run[0], run[-1]) for n, run in enumerate(stays, start=1))
    return visits


def write_truth(folder: Path, rows_of: Mapping[str, Sequence[TruthRow]]) -> None:
    """Write `<camera>.txt` and `visits.csv` into a folder that may not exist yet; rows of a camera by frame."""
    folder.mkdir(parents=True, exist_ok=True)
    for camera_id, rows in rows_of.items():
        _write_rows(folder / f"{camera_id}.txt", rows)
    _write_visits(
        folder / "visits.csv", [v for camera_id, rows in rows_of.items() for v in find_visits(camera_id, rows)]
    )


def _write_rows(path: Path, rows: Sequence[TruthRow]) -> None:
    lines = []
    for row in rows:
        box = ",".join(f"{value:.1f}" for value in row.xywh)
        consider = int(row.visibility >= MIN_VISIBILITY)
        lines.append(f"{row.frame},{row.person_id},{box},{consider},{_PERSON_CLASS},{row.visibility:.3f}\n")
    path.write_text("".join(lines), encoding="utf-8")


def _write_visits(path: Path, visits: Sequence[Visit]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["camera", "person_id", "visit", "entry_frame", "exit_frame", "certainty"])
        writer.writerows([*visit, "sure"] for visit in visits)


def _write_config(path: Path, sources: dict[str, Path], masks: bool) -> None:
    cameras = [{"id": camera_id, "source": source.name} for camera_id, source in sources.items()]
    text = yaml.safe_dump({"site": "generated", "cameras": cameras}, sort_keys=False)
    exact = ", exact masks in masks/" if masks else ""
    path.write_text(f"# A generated scene: ground truth in gt/{exact}, its people in people.png\n{text}")


def _write_difficulty(path: Path, scenario: Scenario, difficulty: Difficulty) -> None:
    lookalikes = [
        {"person_id": person.person_id, "looks_like": person.likeness.person_id, "but_for": person.likeness.part}
        for person in scenario.people
        if person.likeness is not None
    ]
    record = {"seed": scenario.seed, "difficulty": asdict(difficulty), "lookalikes": lookalikes}
    path.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def _write_png(path: Path, image: npt.NDArray[Any]) -> None:
    done, png = cv2.imencode(".png", image)
    if not done:
        raise OutputError(f"{path}: OpenCV could not encode the picture")
    path.write_bytes(png.tobytes())


@contextmanager
def _image_writer(folder: Path, scene: SceneCamera, fps: float) -> Iterator[Callable[[int, ImageArray], None]]:
    """A MOTChallenge sequence: img1/000001.png … and seqinfo.ini."""
    (folder / "img1").mkdir(parents=True)
    camera = scene.camera
    lines = [
        "[Sequence]",
        f"name={camera.id}",
        "imDir=img1",
        f"frameRate={fps:g}",
        f"seqLength={len(scene)}",
        f"imWidth={camera.width_px}",
        f"imHeight={camera.height_px}",
        "imExt=.png",
    ]
    (folder / "seqinfo.ini").write_text("\n".join(lines) + "\n", encoding="utf-8")
    yield lambda index, image: _write_png(folder / "img1" / f"{index + 1:06d}.png", image)


@contextmanager
def _video_writer(path: Path, scene: SceneCamera, fps: float) -> Iterator[Callable[[int, ImageArray], None]]:
    """H.264 in MP4, one frame per 1/fps s; written beside and renamed when complete."""
    partial = path.with_suffix(".partial")
    rate = Fraction(fps).limit_denominator(1000)
    with av.open(str(partial), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=rate, options=_X264)
        stream.width, stream.height = scene.camera.width_px, scene.camera.height_px
        stream.pix_fmt = "yuv420p"
        stream.time_base = 1 / rate
        stream.thread_count = 1  # the same bytes on every machine with the same encoder

        def write_image(index: int, image: ImageArray) -> None:
            picture = av.VideoFrame.from_ndarray(image, format="bgr24")
            picture.pts = index
            picture.time_base = 1 / rate
            container.mux(stream.encode(picture))

        yield write_image
        container.mux(stream.encode(None))
    partial.replace(path)
