"""What a camera tells about its crops and clips, as fit-site listens to it."""

import numpy as np

from pipeline.commands.adapting import encoded_again
from pipeline.config import CameraConfig, Config
from pipeline.fitting.crops import CropStore, fused_again
from pipeline.fitting.footage import FootageCamera, watch
from pipeline.runtime.camera import CameraPipeline
from pipeline.tracking.encoding_policy import EVENLY
from pipeline.types import Detections, Frame
from reid.crops import cut_crops
from reid.handcrafted import HandcraftedEncoder
from reid.heads import MeanHead

FPS = 10.0


class OnePerson:
    """Walks to the right, until frame 60."""

    def detect(self, frames):
        return [
            Detections(np.array([[50 + 2 * f.index, 40, 110 + 2 * f.index, 200]], np.float32), np.array([0.9]))
            if f.index < 60
            else Detections.empty()
            for f in frames
        ]


class Drawn:
    """80 pictures of somebody in red and blue."""

    def frames(self):
        for index in range(80):
            image = np.full((240, 640, 3), 90, np.uint8)
            x = 50 + 2 * index
            image[40:120, x : x + 60], image[120:200, x : x + 60] = (20, 20, 200), (160, 40, 20)
            yield Frame("door", "1", index, index / FPS, image)

    def close(self):
        pass


def watched(picture_of=None):
    encoder, store = HandcraftedEncoder(8), CropStore(picture_of=picture_of)
    head = MeanHead(encoder.describe())
    pipeline = CameraPipeline(
        CameraConfig("door", "none"),
        Config(),
        detector=OnePerson(),
        encoder=encoder,
        head=head,
        on_crop=store.add,
        on_clip=store.note,
        policy=EVENLY,
    )
    return watch([FootageCamera("door", Drawn(), pipeline)]), store, head, encoder


def test_every_crop_and_clip_is_told_so_that_the_same_head_makes_the_same_clips_again():
    footage, store, head, encoder = watched()
    assert len(footage.clips) >= 5 and store.total >= 20
    again = fused_again(footage, store, head, encoder.describe().model_id)
    for first, second in zip(footage.clips, again.clips, strict=True):
        assert len(store.crops_of_clip(first)) >= 1
        assert float(first.embedding @ second.embedding) > 0.9999  # crops are kept in half precision


def test_without_listeners_the_same_clips_are_made():
    encoder = HandcraftedEncoder(8)
    parts = {"detector": OnePerson(), "encoder": encoder, "head": MeanHead(encoder.describe()), "policy": EVENLY}
    plain = watch([FootageCamera("door", Drawn(), CameraPipeline(CameraConfig("door", "none"), Config(), **parts))])
    told, *_ = watched()
    assert [c.sequence for c in plain.clips] == [c.sequence for c in told.clips]
    assert all(np.array_equal(a.embedding, b.embedding) for a, b in zip(plain.clips, told.clips, strict=True))


def test_kept_pictures_are_what_was_encoded_and_can_be_encoded_again():
    _, store, _, encoder = watched(lambda r: cut_crops([r.crop_frame], [r.xyxy[None]])[0][0])
    again = encoded_again(store, encoder)
    assert len(again.all_crops()) == len(store.all_crops())
    for first, second in zip(store.all_crops(), again.all_crops(), strict=True):
        assert first.picture.shape == (256, 128, 3) and second.picture is None
        a, b = (np.ravel(crop.stripes).astype(np.float32) for crop in (first, second))
        assert a @ b > 0.9 * np.linalg.norm(a) * np.linalg.norm(b)  # resized twice
