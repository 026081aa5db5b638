"""Where cut frames go: a video on green or with people removed, or PNG pictures with alpha."""

from pathlib import Path
from types import TracebackType
from typing import Literal, TypeAlias

from pipeline.background.files import encode_png, write_bytes
from pipeline.background.removal.compositing import on_green, removed, with_alpha
from pipeline.background.removal.tracks import CutFrame
from pipeline.view.video import VideoWriter

OutputKind: TypeAlias = Literal["green", "alpha", "removed"]


class CutOutput:
    """Writes one camera's cut frames into `out_dir/background`; whole files at whatever point it is closed.

    Args:
        fps: of the source; videos have the same.
    """

    def __init__(self, out_dir: Path, camera_id: str, kind: OutputKind, fps: float) -> None:
        self.kind = kind
        self.frames = 0
        self._folder = out_dir / "background"
        self.path = self._folder / (f"{camera_id}_alpha" if kind == "alpha" else f"{camera_id}_{kind}.mp4")
        self._video = None if kind == "alpha" else VideoWriter(self.path, fps)
        if kind == "alpha":
            self.path.mkdir(parents=True, exist_ok=True)

    def write(self, cut: CutFrame, shown: dict[int, int] | None) -> None:
        """Add one frame.

        Args:
            shown: track id → identity of those who are meant; None: everybody.
        """
        chosen = None if shown is None else set(shown)
        if self._video is None:
            name = f"{cut.frame.index + 1:06d}.png"
            write_bytes(self.path / name, encode_png(with_alpha(cut, chosen)))
        else:
            picture = on_green(cut, chosen) if self.kind == "green" else removed(cut, chosen)
            self._video.write(picture, cut.frame.captured_at_s)
        self.frames += 1

    def close(self) -> None:
        if self._video is not None:
            self._video.close()

    def __enter__(self) -> "CutOutput":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._video is not None:
            self._video.__exit__(kind, error, trace)
