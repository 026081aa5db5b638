"""Writes down what a live matcher received and when it decided, so that the same can be matched again.

A bus recording is a message log with these records:

    S  a matcher started: field `start`, JSON with its settings, and its whole state as fields `s:<name>`
    M  a message, in order of arrival: the fields of the stream entry, and `id`, its id in the stream
    A  the matcher advanced over the messages since the record before: field `emitted_at_s`, wall clock
    E  the matcher ended well

A step is written before it is committed: a matcher that was killed between the two leaves a step that never took
effect. The next start tells: its state counts the events of every step that was committed.
"""

import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pipeline.bus.codec import encode
from pipeline.bus.message_log import MESSAGE, LogWriter
from pipeline.bus.plain import parse_json, read_plain, write_plain
from pipeline.config import Config, MatcherConfig, TopologyConfig
from pipeline.errors import DecodeError, OutputError
from pipeline.identity.matcher import Matcher
from pipeline.ports import Delivery

_log = logging.getLogger(__name__)

BUS = "bus"
SCHEMA = 1
START, ADVANCE, END = "S", "A", "E"
STATE_PREFIX = b"s:"
ID_FIELD = b"id"


@dataclass(frozen=True, slots=True)
class MatcherSettings:
    """Everything that a matcher's decisions depend on besides messages and state; nothing that is secret.

    Attributes:
        threshold, cameras, live_cameras, topology, features_s: see `Matcher`.
        model_id: of the clips.
    """

    matcher: MatcherConfig
    threshold: float
    cameras: tuple[str, ...]
    live_cameras: tuple[str, ...]
    topology: tuple[TopologyConfig, ...]
    features_s: float
    model_id: str

    @staticmethod
    def of(config: Config, threshold: float, live_cameras: Iterable[str], model_id: str) -> "MatcherSettings":
        """What the matcher of a configuration depends on."""
        return MatcherSettings(
            matcher=replace(config.matcher, threshold=threshold),  # never "auto": the figure may change
            threshold=threshold,
            cameras=tuple(camera.id for camera in config.cameras),
            live_cameras=tuple(live_cameras),
            topology=config.topology,
            features_s=config.retention.features_s,
            model_id=model_id,
        )

    def make(self, state: Mapping[str, bytes] | None = None) -> Matcher:
        """A matcher, new or carrying on from `state`.

        Raises:
            DecodeError: a state that cannot be read.
        """
        return Matcher(
            self.matcher,
            self.threshold,
            self.cameras,
            live_cameras=self.live_cameras,
            topology=self.topology,
            features_s=self.features_s,
            state=state,
        )

    def to_json(self) -> bytes:
        return json.dumps(write_plain(MatcherSettings, self, "start"), sort_keys=True, allow_nan=False).encode()

    @staticmethod
    def from_json(text: bytes) -> "MatcherSettings":
        """What `to_json` made; matcher settings that did not exist then have their defaults.

        Raises:
            DecodeError: it cannot be read.
        """
        plain = parse_json(text, "start")
        if not isinstance(plain, dict) or not isinstance(plain.get("matcher"), dict):
            raise DecodeError("start: expected an object with the matcher's settings")
        usual = replace(MatcherConfig(), threshold=0.0)
        plain["matcher"] = {**write_plain(MatcherConfig, usual, "matcher"), **plain["matcher"]}
        found = read_plain(MatcherSettings, plain, "start")
        if not isinstance(found, MatcherSettings):
            raise DecodeError("start: expected the matcher's settings")
        return found


class BusRecorder:
    """Appends one matcher's life to a bus recording.

    A disk that fails ends the recording and not the matcher; `broke_off` says so.

    Raises:
        OutputError: the file cannot be written, or somebody else writes it. DecodeError: it is something else.
    """

    def __init__(self, path: Path, site: str, settings: MatcherSettings, state: Mapping[str, bytes]) -> None:
        self._log = LogWriter(path, {"log": BUS, "schema": SCHEMA, "site": site}, append=True, chunk_bytes=None)
        self.broke_off = False
        fields = {b"start": settings.to_json()}
        fields.update({STATE_PREFIX + name.encode(): value for name, value in state.items()})
        self._log.add(START, fields)
        self._log.flush()

    def step(self, deliveries: Sequence[Delivery], emitted_at_s: float) -> None:
        """What came since the last step, and the wall clock of the step; on disk when this returns."""
        if self.broke_off:
            return
        for delivery in deliveries:
            self._log.add(MESSAGE, {ID_FIELD: delivery.id.encode(), **encode(delivery.message)})
        self._log.add(ADVANCE, {b"emitted_at_s": repr(emitted_at_s).encode()})
        self._write()

    def close(self, in_order: bool = True) -> None:
        """Let go of the file; `in_order`: the matcher ends well, and everything that was written was committed."""
        if in_order and not self.broke_off:
            self._log.add(END, {})
            self._write()
        self._log.close()

    def _write(self) -> None:
        try:
            self._log.flush()
        except OutputError as error:
            self.broke_off = True
            _log.error("the bus recording ends here, the matcher goes on: %s", error)
