"""What can be seen of a training: a log that a resumed run continues, TensorBoard, and the time that is left."""

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from reid.training.files import write_whole

_log = logging.getLogger(__name__)

_SMOOTHING = 0.95  # of the pace that the time left is told from: a step counts for about the last twenty


@dataclass(frozen=True, slots=True)
class StepReport:
    """One step, for whoever shows progress.

    Attributes:
        step: made so far. steps: in all. epoch: from 1.
        terms: each loss, unweighed; `total` the weighed sum.
        left_s: estimated seconds until the end; None at first.
    """

    step: int
    steps: int
    epoch: int
    rate: float
    terms: Mapping[str, float]
    left_s: float | None


Report = Callable[[StepReport], None]


class Pace:
    """Seconds a step, of late; the clock is handed in."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._last_s: float | None = None
        self._step_s: float | None = None

    def left_s(self, steps_left: int) -> float | None:
        """Call after each step."""
        now_s = self._clock()
        if self._last_s is not None:
            took_s = now_s - self._last_s
            self._step_s = took_s if self._step_s is None else _SMOOTHING * self._step_s + (1 - _SMOOTHING) * took_s
        self._last_s = now_s
        return None if self._step_s is None else self._step_s * steps_left


class TrainingLog:
    """`training.jsonl`: one line an epoch, `{"step", "epoch", "rate", "terms"}` with the terms of the last step, and
    figures where it was evaluated.

    Holds no time, so that a run that was killed and resumed leaves the same file as one that was not.
    """

    def __init__(self, path: Path, resumed_step: int) -> None:
        """What an earlier run wrote after the step that is resumed from is written again, and so taken away."""
        self._path = path
        lines = path.read_text(encoding="utf-8").splitlines() if resumed_step and path.is_file() else []
        self._lines = [line for line in lines if json.loads(line)["step"] <= resumed_step]

    def add(self, entry: Mapping[str, Any]) -> None:
        """
        Raises:
            OutputError: it cannot be written.
        """
        self._lines.append(json.dumps(entry))
        write_whole(self._path, ("\n".join(self._lines) + "\n").encode())


class Scalars(Protocol):
    """Where figures are drawn."""

    def add(self, name: str, value: float, step: int) -> None: ...

    def close(self) -> None: ...


class NoScalars:
    """Draws nothing."""

    def add(self, name: str, value: float, step: int) -> None: ...

    def close(self) -> None: ...


class TensorBoard:
    """Event files for TensorBoard; what an earlier run wrote after the resumed step is hidden there."""

    def __init__(self, folder: Path, resumed_step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(folder), purge_step=resumed_step + 1 if resumed_step else None)

    def add(self, name: str, value: float, step: int) -> None:
        self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        self._writer.close()


def open_scalars(folder: Path, wanted: bool, resumed_step: int) -> Scalars:
    """TensorBoard where it is wanted and installed; else nothing, and a warning that names the package."""
    if not wanted:
        return NoScalars()
    try:
        return TensorBoard(folder, resumed_step)
    except ModuleNotFoundError as error:
        _log.warning("no TensorBoard files are written: the package tensorboard is not installed (%s)", error.name)
        return NoScalars()
