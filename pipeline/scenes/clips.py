"""A scene as people's stays in front of cameras, for experiments with re-identification: frames and boxes, no tracker.

for views in person_views(scenario, every_s=0.4, shake=0.08, rng=np.random.default_rng(0)):
    for frame, places, boxes in views.frames():
        features = encoder.encode([frame], [boxes])[0]  # of views.stays[places[0]], views.stays[places[1]], …
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from pipeline.boxes import clip_boxes
from pipeline.errors import OutputError
from pipeline.scenes.scene import SceneCamera
from pipeline.scenes.walks import Scenario
from pipeline.types import FloatArray, Frame, IntArray, TimeArray

LEAST_VISIBLE = 0.3  # share of a person: trackers carry on through partial occlusion, and their boxes are encoded
JPEG_QUALITY = 92  # of written crops: about that of the public data sets


@dataclass(frozen=True, eq=False, slots=True)
class Stay:
    """One walk of one person through one camera's picture, as boxes at some of its frames.

    Attributes:
        visit: number of the stay among the person's in this camera, from 1.
        frame_index: (T,) int64, `Frame.index`, rising; T >= 1.
        captured_at_s: (T,) float64.
        xyxy: (T, 4) float32 px: true boxes, shaken as a detector's are; may reach out of the picture.
        visibility: (T,) float32, as in `GroundTruth`.
    """

    person_id: int
    camera_id: str
    visit: int
    frame_index: IntArray
    captured_at_s: TimeArray
    xyxy: FloatArray
    visibility: FloatArray


@dataclass(frozen=True, eq=False)
class CameraViews:
    """Everybody's stays in one camera.

    Attributes:
        stays: in order of their first frame, then of person.
    """

    camera_id: str
    stays: tuple[Stay, ...]
    scene: SceneCamera = field(repr=False)

    def frames(self) -> Iterator[tuple[Frame, list[int], FloatArray]]:
        """The frames that a stay has a box in, in order, each rendered when it is asked for.

        Yields:
            The frame; places in `stays` of those seen in it; their boxes (N, 4) xyxy px, N >= 1.
        """
        seen: dict[int, list[tuple[int, FloatArray]]] = defaultdict(list)
        for place, stay in enumerate(self.stays):
            for index, box in zip(stay.frame_index.tolist(), stay.xyxy, strict=True):
                seen[index].append((place, box))
        for index in sorted(seen):
            places, boxes = zip(*seen[index], strict=True)
            yield self.scene.render(index)[0], list(places), np.stack(boxes)


def person_views(
    scenario: Scenario,
    every_s: float,
    shake: float,
    rng: np.random.Generator,
    *,
    least_visible: float = LEAST_VISIBLE,
) -> Iterator[CameraViews]:
    """Each camera's stays, one camera after the other; cameras nobody was seen in come with none.

    Args:
        every_s: between two boxes of a stay; at least one frame's time is taken.
        shake: largest shift of each edge of a box, as a share of its side.
        least_visible: boxes of people who show less are left out, 0 to 1.

    Raises:
        ValueError: a negative shake, or an `every_s` that is not above 0.
    """
    if every_s <= 0 or shake < 0:
        raise ValueError(f"expected every_s above 0 and shake of at least 0, got {every_s} and {shake}")
    for camera in scenario.cameras:
        scene = SceneCamera(scenario, camera.id)
        step = max(round(every_s * scenario.fps), 1)
        yield CameraViews(camera.id, tuple(_stays(scenario, scene, step, (shake, least_visible), rng)), scene)


def _stays(
    scenario: Scenario, scene: SceneCamera, step: int, limits: tuple[float, float], rng: np.random.Generator
) -> Iterator[Stay]:
    """`limits`: shake, and the least visibility."""
    shake, least_visible = limits
    walks = [walk for walk in scenario.walks if walk.camera_id == scene.camera.id]
    boxes: dict[int, list[tuple[int, float, FloatArray, float]]] = defaultdict(list)  # by place in `walks`
    for index in range(0, len(scene), step):
        frame, truth = scene.render(index)
        here = {walk.person_id: i for i, walk in enumerate(walks) if walk.start_s <= frame.captured_at_s < walk.end_s}
        for person_id, box, visible in zip(truth.person_ids.tolist(), truth.xyxy, truth.visibility, strict=True):
            shaken = box + np.tile(box[2:] - box[:2], 2) * rng.uniform(-shake, shake, 4)
            if visible >= least_visible:
                entry = (index, frame.captured_at_s, shaken.astype(np.float32), float(visible))
                boxes[here[person_id]].append(entry)
    visits: dict[int, int] = defaultdict(int)
    for place in sorted(boxes, key=lambda place: (boxes[place][0][0], walks[place].person_id)):
        person_id = walks[place].person_id
        visits[person_id] += 1
        indices, times, xyxy, visible_shares = zip(*boxes[place], strict=True)
        yield Stay(
            person_id,
            scene.camera.id,
            visits[person_id],
            np.array(indices, np.int64),
            np.array(times, np.float64),
            np.stack(xyxy),
            np.array(visible_shares, np.float32),
        )


def write_crops(
    scenario: Scenario,
    root: Path,
    every_s: float,
    shake: float,
    rng: np.random.Generator,
    *,
    least_visible: float = LEAST_VISIBLE,
) -> int:
    """Write `root/<person>/<camera>/<visit>/<frame>.jpg`, the plain layout of a data set; returns how many pictures.

    Raises:
        OutputError: the folder holds something, or cannot be written.
    """
    written = 0
    try:
        root.mkdir(parents=True, exist_ok=True)
        if any(root.iterdir()):
            raise OutputError(f"{root} is not empty; choose another folder for the crops")
        for views in person_views(scenario, every_s, shake, rng, least_visible=least_visible):
            for frame, places, boxes in views.frames():
                written += sum(
                    _write_crop(root, views.stays[place], frame, box) for place, box in zip(places, boxes, strict=True)
                )
    except OSError as error:
        raise OutputError(f"cannot write crops to {root}: {error.strerror or error}; choose another folder") from None
    return written


def _write_crop(root: Path, stay: Stay, frame: Frame, box: FloatArray) -> bool:
    height, width = frame.image.shape[:2]
    x1, y1, x2, y2 = np.round(clip_boxes(box[None], width, height)[0]).astype(int).tolist()
    if x1 >= x2 or y1 >= y2:
        return False
    folder = root / f"{stay.person_id:04d}" / stay.camera_id / f"{stay.visit:02d}"
    folder.mkdir(parents=True, exist_ok=True)
    _, jpeg = cv2.imencode(".jpg", frame.image[y1:y2, x1:x2], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    (folder / f"{frame.index + 1:06d}.jpg").write_bytes(jpeg.tobytes())
    return True
