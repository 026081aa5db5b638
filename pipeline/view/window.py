"""All cameras in one window on this computer's screen."""

import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType

import cv2

from pipeline.errors import OutputError
from pipeline.types import ImageArray
from pipeline.view.overlay import tile

_PROBE_S = 20.0  # a cold start of OpenCV's window toolkit takes a few seconds on a slow disk
_PROBE = "import cv2; cv2.namedWindow('probe'); cv2.waitKey(1); cv2.destroyAllWindows()"
_END_KEYS = (ord("q"), ord("Q"), 27)  # 27: Esc
_INSTEAD = "use --display web and open the page in a browser, or --display none"


def window_works() -> bool:
    """Whether a window can be opened, tried in a child process: OpenCV's toolkit aborts its process when it cannot."""
    command = [sys.executable, "-c", _PROBE]
    try:
        return subprocess.run(command, capture_output=True, timeout=_PROBE_S, check=False).returncode == 0
    except subprocess.TimeoutExpired:
        return False


class Window:
    """Shows pictures side by side; q, Esc or closing it ends. Use it from the main thread only.

    Raises:
        OutputError: there is no screen, or no window can be opened on it.
    """

    def __init__(
        self,
        title: str = "cameras",
        width_px: int = 1280,
        environment: Mapping[str, str] | None = None,
        works: Callable[[], bool] = window_works,
    ) -> None:
        environment = os.environ if environment is None else environment
        if sys.platform.startswith("linux") and not (environment.get("DISPLAY") or environment.get("WAYLAND_DISPLAY")):
            raise OutputError(f"no screen: neither DISPLAY nor WAYLAND_DISPLAY is set; {_INSTEAD}")
        if not works():
            raise OutputError(f"no window can be opened on this screen; {_INSTEAD}")
        self._title = title
        self._width_px = width_px
        self._open = False

    def show(self, images: Sequence[ImageArray]) -> bool:
        """Show the newest picture of every camera; False as soon as the user wants to end."""
        if self._open and cv2.getWindowProperty(self._title, cv2.WND_PROP_VISIBLE) < 1:
            return False
        picture = tile(images, self._width_px)
        if not self._open:
            cv2.namedWindow(self._title, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO | cv2.WINDOW_GUI_NORMAL)
            cv2.resizeWindow(self._title, picture.shape[1], picture.shape[0])  # Qt opens it at 400×300
            self._open = True
        cv2.imshow(self._title, picture)
        return (cv2.waitKey(1) & 0xFF) not in _END_KEYS

    def close(self) -> None:
        """Close the window; closing twice does no harm."""
        if self._open:
            cv2.destroyAllWindows()
            self._open = False

    def __enter__(self) -> "Window":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
