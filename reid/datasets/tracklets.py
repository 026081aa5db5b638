"""What every data set is read into: tracklets of pictures, in a training part, queries and a gallery."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class ImageTracklet:
    """Pictures of one person's stay in front of one camera, in order of time.

    Attributes:
        person_id: -1 for pictures of nobody in particular (junk), which leave every ranking; 0 and more else
            (0 is the distractors of Market-1501, DukeMTMC and MARS: a wrong answer like any other).
        camera_id: 0 and more.
        images: at least one file.
    """

    person_id: int
    camera_id: int
    images: tuple[Path, ...]

    def __post_init__(self) -> None:
        if not self.images:
            raise ValueError(f"images: expected at least one, got none (person {self.person_id})")


@dataclass(frozen=True, slots=True)
class DataSet:
    """A data set in the field's three parts.

    Attributes:
        name: what results are reported for, with the split where there are several.
        train: may be empty.
        query, gallery: of the test part. Where the protocol says so (MARS), `gallery` holds the queries as well; a
            query never meets itself, because a gallery entry of its person and camera is junk.
        people: person_id -> the name in the files, where they have other names than numbers.
        cameras: camera_id -> name, likewise.
        skipped: why -> how many tracklets or pictures were left out; empty when nothing was.
        protocol: one line for the report: what was done with the data.
    """

    name: str
    train: tuple[ImageTracklet, ...]
    query: tuple[ImageTracklet, ...]
    gallery: tuple[ImageTracklet, ...]
    people: Mapping[int, str] = field(default_factory=dict)
    cameras: Mapping[int, str] = field(default_factory=dict)
    skipped: Mapping[str, int] = field(default_factory=dict)
    protocol: str = ""
