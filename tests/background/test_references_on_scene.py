"""From the generated scene's frames over kept frames to reference frames, measured against its exact masks."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from background_scene import iou

from pipeline.background.background_model import BackgroundModel, PlateFolder
from pipeline.background.files import read_image
from pipeline.background.grabcut import GrabCutSegmenter
from pipeline.background.kept_frames import FrameKeeper
from pipeline.background.references import ReferenceKeeper
from pipeline.boxes import covered_share
from pipeline.config import BackgroundConfig
from pipeline.scenes.scene import GroundTruth, SceneCamera
from pipeline.scenes.walks import demo_scenario
from pipeline.types import Frame, IdentityEvent, TrackKey, Tracks

CAMERA = demo_scenario().cameras[0].id
STEP = 10  # every tenth frame: about one a second


@pytest.fixture(scope="module")
def frames() -> list[tuple[Frame, GroundTruth]]:
    scene = SceneCamera(demo_scenario(), CAMERA)
    return [scene.render(index) for index in range(0, len(scene), STEP)]


def whole(truth: GroundTruth) -> Iterator[int]:
    """Rows of people who stand free and whole in the picture."""
    covered = covered_share(truth.xyxy)
    return (i for i in range(len(truth.person_ids)) if covered[i] == 0 and truth.visibility[i] > 0.97)


def test_references_of_the_scene_hold_the_right_people_with_good_masks(
    tmp_path: Path, frames: list[tuple[Frame, GroundTruth]]
) -> None:
    keeper, model = FrameKeeper(tmp_path, CAMERA, "here"), BackgroundModel()
    seen: dict[int, tuple[float, int]] = {}
    for frame, truth in frames:
        model.update(frame, truth.xyxy)
        tracks = Tracks(truth.person_ids, truth.xyxy, np.ones(len(truth.person_ids), np.float32))
        quality = {int(truth.person_ids[i]): 0.9 for i in whole(truth)}
        keeper.observe(frame, tracks, quality)
        for person in quality:
            seen.setdefault(person, (frame.captured_at_s, frame.index))
    model.save(tmp_path, CAMERA)
    references = ReferenceKeeper(
        tmp_path, GrabCutSegmenter(PlateFolder(tmp_path)), "here", BackgroundConfig(references=True)
    )
    truth_at = {frame.captured_at_s: truth for frame, truth in frames}
    scores = []
    for sequence, person in enumerate(sorted(seen), 1):
        key = TrackKey(CAMERA, "1", person)
        event = IdentityEvent(sequence, "entered", person, key, 0.0, 0.5, frame=keeper.pointer(person))
        reference = references.handle(event)
        assert reference is not None
        (subject,) = (s for s in reference.subjects if s.identity_id == person)
        labels = read_image(tmp_path / reference.mask, grey=True)
        scores.append(iou(labels == subject.value, truth_at[reference.captured_at_s].mask(person)))
    assert len(scores) >= 3 and np.mean(scores) >= 0.9, scores
