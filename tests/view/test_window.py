import sys

import cv2
import numpy as np
import pytest

from pipeline.errors import OutputError
from pipeline.view.window import Window

PICTURE = np.zeros((36, 64, 3), np.uint8)
SCREEN = {"DISPLAY": ":7"}


class FakeScreen:
    """Stands in for OpenCV's window functions."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.shown: list[np.ndarray] = []
        self.key = -1
        self.visible = 1.0
        monkeypatch.setattr(cv2, "namedWindow", lambda *_: None)
        monkeypatch.setattr(cv2, "resizeWindow", lambda *_: None)
        monkeypatch.setattr(cv2, "imshow", lambda _, image: self.shown.append(image))
        monkeypatch.setattr(cv2, "waitKey", lambda _: self.key)
        monkeypatch.setattr(cv2, "getWindowProperty", lambda *_: self.visible)
        monkeypatch.setattr(cv2, "destroyAllWindows", lambda: self.shown.clear())


@pytest.mark.skipif(sys.platform != "linux", reason="DISPLAY is a Linux matter")
def test_no_screen_is_a_clear_error_before_anything_is_tried() -> None:
    with pytest.raises(OutputError, match=r"DISPLAY.*--display web"):
        Window(environment={}, works=lambda: pytest.fail("must not be tried"))


def test_a_screen_that_refuses_windows_is_a_clear_error() -> None:
    with pytest.raises(OutputError, match="--display web"):
        Window(environment=SCREEN, works=lambda: False)


@pytest.mark.skipif(sys.platform != "linux", reason="a screen that does not exist, the Linux way")
def test_a_screen_that_does_not_exist_is_an_error_and_no_abort(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISPLAY", "127.0.0.1:59")
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.delenv("QT_QPA_PLATFORM", raising=False)
    with pytest.raises(OutputError, match="no window"):
        Window()


def test_all_pictures_are_shown_together_until_a_key_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = FakeScreen(monkeypatch)
    with Window(width_px=200, environment=SCREEN, works=lambda: True) as window:
        assert window.show([PICTURE, PICTURE]) and window.show([])
        assert screen.shown[0].shape[1] == 200
        for key in (ord("q"), 27):
            screen.key = key
            assert not window.show([PICTURE])
    assert screen.shown == []


def test_closing_the_window_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = FakeScreen(monkeypatch)
    window = Window(environment=SCREEN, works=lambda: True)
    assert window.show([PICTURE])
    screen.visible = 0.0
    assert not window.show([PICTURE])
    window.close()
    window.close()
