import numpy as np
import pytest

from pipeline.types import IdentityEvent, TrackKey, Tracks
from pipeline.view.canvas import TextPainter, blend, rounded_mask
from pipeline.view.colours import UNKNOWN_BGR, identity_colour
from pipeline.view.overlay import OverlayDrawer, fit, tile

BOX = (200.0, 100.0, 300.0, 300.0)


def grey_picture(height: int = 360, width: int = 640) -> np.ndarray:
    return np.full((height, width, 3), 90, np.uint8)


def tracks(*boxes: tuple[float, ...]) -> Tracks:
    return Tracks(np.arange(1, len(boxes) + 1), np.array(boxes, np.float32).reshape(-1, 4), np.ones(len(boxes)))


def reentered(at_s: float, camera_id: str = "door", identity_id: int = 7) -> IdentityEvent:
    return IdentityEvent(1, "reentered", identity_id, TrackKey(camera_id, "1", 1), at_s, at_s + 0.5, absent_s=12.3)


def holds(image: np.ndarray, colour: tuple[int, int, int]) -> bool:
    return bool((image == np.array(colour, np.uint8)).all(axis=2).any())


def changed(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return (a != b).any(axis=2)


@pytest.mark.parametrize("size", [(360, 640), (1080, 1920)])
def test_box_and_label_are_drawn_on_a_copy_and_nothing_else_changes(size: tuple[int, int]) -> None:
    image = grey_picture(*size)
    drawn = OverlayDrawer("door").draw(image, 5.0, tracks(BOX), {1: 7})
    assert (image == 90).all()
    assert drawn.shape == image.shape and holds(drawn, identity_colour(7))
    difference = changed(drawn, image)
    assert difference[196:204, 197:204].all()  # the left side of the box
    assert not difference[150:250, 215:285].any()  # inside of the box
    assert not difference[10:50, 350:].any()  # far away


def test_one_identity_has_one_colour_in_every_camera() -> None:
    one = OverlayDrawer("door").draw(grey_picture(), 5.0, tracks(BOX), {1: 7})
    two = OverlayDrawer("hall").draw(grey_picture(), 9.0, tracks((50, 50, 90, 200), BOX), {1: 3, 2: 7})
    assert holds(one, identity_colour(7)) and holds(two, identity_colour(7)) and holds(two, identity_colour(3))


@pytest.mark.parametrize("identities", [{}, {1: 0}])
def test_somebody_not_known_yet_is_grey(identities: dict[int, int]) -> None:
    drawn = OverlayDrawer("door").draw(grey_picture(), 5.0, tracks(BOX), identities)
    assert holds(drawn, UNKNOWN_BGR)


def test_a_name_makes_a_wider_label_than_a_number() -> None:
    plain = OverlayDrawer("door").draw(grey_picture(), 5.0, tracks(BOX), {1: 7})
    named = OverlayDrawer("door").draw(grey_picture(), 5.0, tracks(BOX), {1: 7}, {7: "Zoë Müller"})
    assert changed(named, grey_picture())[80:98].sum() > changed(plain, grey_picture())[80:98].sum() + 200


def test_a_trail_follows_the_foot_point_and_ends_after_its_time() -> None:
    drawer = OverlayDrawer("door", trail_s=2.0)
    for step in range(11):
        box = (200.0 + 20 * step, 100.0, 240.0 + 20 * step, 300.0)
        drawn = drawer.draw(grey_picture(), step * 0.2, tracks(box), {1: 7})
    assert changed(drawn, grey_picture())[297:304, 230:390].any(axis=0).all()  # the whole way from x 220 to x 420
    gone = drawer.draw(grey_picture(), 3.0, Tracks.empty(), {})
    assert changed(gone, grey_picture())[297:304, 350:410].any()
    assert not changed(gone, grey_picture())[290:310, 200:300].any()  # older than two seconds
    assert not changed(drawer.draw(grey_picture(), 4.1, Tracks.empty(), {}), grey_picture())[290:310].any()


def test_a_trail_of_no_length_is_not_drawn() -> None:
    drawer = OverlayDrawer("door", trail_s=0.0)
    drawer.draw(grey_picture(), 0.0, tracks((50, 100, 90, 300)), {1: 7})
    drawn = drawer.draw(grey_picture(), 0.2, tracks((250, 100, 290, 300)), {1: 7})
    assert not changed(drawn, grey_picture())[280:310, 100:240].any()


@pytest.mark.parametrize(("epoch", "at_s"), [("2", 0.2), ("1", -5.0)])
def test_a_new_epoch_or_time_running_backwards_starts_new_trails(epoch: str, at_s: float) -> None:
    drawer = OverlayDrawer("door")
    drawer.draw(grey_picture(), 0.0, tracks((50, 100, 90, 300)), {1: 7}, epoch="1")
    drawn = drawer.draw(grey_picture(), at_s, tracks((250, 100, 290, 300)), {1: 7}, epoch=epoch)
    assert not changed(drawn, grey_picture())[280:310, 100:240].any()


def test_somebody_who_returned_wears_a_badge_for_a_few_seconds() -> None:
    drawer = OverlayDrawer("door", badge_s=3.0)
    plain = OverlayDrawer("door")

    def badge_pixels(at_s: float, events: list[IdentityEvent]) -> int:
        with_badge = drawer.draw(grey_picture(), at_s, tracks(BOX), {1: 7}, events=events)
        return int(changed(with_badge, plain.draw(grey_picture(), at_s, tracks(BOX), {1: 7}))[:100].sum())

    assert badge_pixels(9.9, [reentered(10.0)]) == 0  # known already (replay), but not there yet
    assert badge_pixels(10.0, []) > 500
    assert badge_pixels(13.4, [reentered(10.0)]) > 500
    assert badge_pixels(13.6, [reentered(10.0)]) == 0


@pytest.mark.parametrize("event", [reentered(10.0, camera_id="hall"), reentered(10.0, identity_id=8)])
def test_another_cameras_or_another_persons_return_shows_no_badge(event: IdentityEvent) -> None:
    plain = OverlayDrawer("door").draw(grey_picture(), 11.0, tracks(BOX), {1: 7})
    assert (OverlayDrawer("door").draw(grey_picture(), 11.0, tracks(BOX), {1: 7}, events=[event]) == plain).all()


def test_camera_and_time_stand_in_the_corner_and_the_time_moves() -> None:
    drawer = OverlayDrawer("door")
    one = drawer.draw(grey_picture(), 1.0, Tracks.empty(), {})
    two = drawer.draw(grey_picture(), 2.0, Tracks.empty(), {})
    assert changed(one, grey_picture())[330:, :150].any() and not changed(one, grey_picture())[:300].any()
    assert changed(one, two).any()


def test_a_state_dims_the_picture_and_shows_a_banner() -> None:
    drawn = OverlayDrawer("door").draw(grey_picture(), 1.0, Tracks.empty(), {}, state="OFFLINE")
    assert drawn[20, 20].max() < 60
    assert changed(drawn, np.full_like(drawn, drawn[20, 20, 0]))[160:200, 250:390].mean() > 0.5


@pytest.mark.parametrize("size", [(1, 1), (9, 16), (0, 10), (2160, 3840)])
def test_any_size_of_picture_is_drawn_on(size: tuple[int, int]) -> None:
    drawn = OverlayDrawer("door").draw(grey_picture(*size), 1.0, tracks(BOX), {1: 7}, state="OFFLINE")
    assert drawn.shape == (*size, 3)


@pytest.mark.parametrize(
    "box",
    [
        (-900, -900, -800, -700),
        (9e8, 9e8, 1e9, 1e9),
        (50, 50, 50, 50),
        (90, 90, 10, 10),
        (float("nan"), 0, 1, 1),
        (0, 0, float("inf"), 9),
    ],
)
def test_boxes_outside_of_the_picture_without_area_or_not_finite_do_no_harm(box: tuple[float, ...]) -> None:
    drawn = OverlayDrawer("door").draw(grey_picture(), 1.0, tracks(box), {1: 7})
    assert drawn.shape == (360, 640, 3)


def test_a_label_at_the_edge_stays_inside_of_the_picture() -> None:
    drawn = OverlayDrawer("door").draw(grey_picture(), 1.0, tracks((600, 0, 700, 200)), {1: 7}, {7: "a long name"})
    rows = changed(drawn, grey_picture())[3:20]
    assert rows[:, 500:590].any() and rows.any(axis=0)[-40:].all()


def test_text_masks_are_kept_and_bounded() -> None:
    painter = TextPainter()
    assert painter.mask("#7", 20) is painter.mask("#7", 20)
    for i in range(300):
        painter.mask(str(i), 12)
    assert len(painter._masks) <= 256
    assert painter.mask("", 12).shape[1] >= 1 and painter.mask("x" * 5000, 12).shape[1] < 3000


def test_names_beyond_ascii_have_their_own_glyphs() -> None:
    painter = TextPainter()
    assert (painter.mask("é", 30).shape != painter.mask("?", 30).shape) or (
        painter.mask("é", 30) != painter.mask("?", 30)
    ).any()
    assert painter.mask("Жаба", 30).max() > 200


@pytest.mark.parametrize("xy", [(-50, 0), (0, -50), (50, 50), (-5, -5), (8, 8)])
def test_blending_clips_at_the_border(xy: tuple[int, int]) -> None:
    image = np.zeros((10, 10, 3), np.uint8)
    blend(image, np.full((6, 6), 255, np.uint8), *xy, (10, 20, 30))
    inside = max(0, min(10, xy[0] + 6) - max(0, xy[0])) * max(0, min(10, xy[1] + 6) - max(0, xy[1]))
    assert (image == (10, 20, 30)).all(axis=2).sum() == inside


def test_a_panel_is_full_in_the_middle_and_empty_in_the_corner() -> None:
    mask = rounded_mask(40, 20, 6)
    assert mask.shape == (20, 40) and mask[10, 20] == 255 and mask[0, 0] == 0 and mask[-1, -1] == 0
    assert rounded_mask(0, 0, 6).shape == (1, 1)


@pytest.mark.parametrize(("count", "shape"), [(0, (720, 1280)), (1, (720, 1280)), (2, (358, 1280)), (3, (720, 1280))])
def test_a_mosaic_is_as_square_as_can_be(count: int, shape: tuple[int, int]) -> None:
    mosaic = tile([grey_picture() for _ in range(count)])
    assert abs(mosaic.shape[0] - shape[0]) <= 4 and mosaic.shape[1] == shape[1]


def test_a_mosaic_keeps_every_picture_whole_and_undistorted() -> None:
    tall = np.zeros((400, 200, 3), np.uint8)
    tall[:, :, 2] = 255
    mosaic = tile([grey_picture(), tall], width_px=804)
    red = (mosaic[:, :, 2] > 200) & (mosaic[:, :, 0] < 50)
    height, width = red.any(axis=1).sum(), red.any(axis=0).sum()
    assert abs(height / width - 2.0) < 0.05


def test_fitting_a_picture_of_the_right_size_changes_nothing() -> None:
    image = grey_picture(10, 20)
    assert fit(image, 20, 10) is image
    assert fit(grey_picture(1, 3000), 20, 10).shape == (10, 20, 3)
