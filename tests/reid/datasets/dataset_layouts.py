"""Tiny data sets in the layouts in which the real ones are unpacked; the pictures are empty files."""

import json
from pathlib import Path

import numpy as np
from scipy.io import savemat


def touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


def mars_names(person: int, camera: int, tracklet: int, count: int) -> list[str]:
    folder = "00-1" if person == -1 else f"{person:04d}"
    return [f"{folder}C{camera}T{tracklet:04d}F{frame:03d}.jpg" for frame in range(1, count + 1)]


# (person, camera, pictures) of every tracklet, in the order of the lists
MARS_TRAIN = [(1, 1, 3), (1, 2, 2), (3, 6, 4)]
MARS_TEST = [(-1, 1, 2), (0, 3, 2), (2, 1, 3), (2, 4, 2), (4, 1, 2), (4, 1, 3), (4, 2, 1)]
MARS_QUERIES = [3, 4, 5, 7]  # rows of MARS_TEST from 1; both tracklets of person 2 are queries


def make_mars(root: Path) -> Path:
    (root / "info").mkdir(parents=True)
    for part, tracklets in (("train", MARS_TRAIN), ("test", MARS_TEST)):
        names, rows = [], []
        for number, (person, camera, count) in enumerate(tracklets, start=1):
            own = mars_names(person, camera, number, count)
            rows.append([len(names) + 1, len(names) + count, person, camera])
            names += own
            for name in own:
                touch(root / f"bbox_{part}" / name[:4] / name)
        (root / "info" / f"{part}_name.txt").write_text("\n".join(names) + "\n")
        savemat(root / "info" / f"tracks_{part}_info.mat", {f"track_{part}_info": np.array(rows, float)})
    savemat(root / "info" / "query_IDX.mat", {"query_IDX": np.array([MARS_QUERIES], float)})
    return root


def make_duke(root: Path) -> Path:
    """One query, of person 2 in camera 6; person 3 is seen in one camera only."""
    for frame in (99, 101, 100):
        touch(root / "train" / "0001" / "0001" / f"0001_C5_F{frame:04d}_X30823.jpg")
    touch(root / "train" / "0001" / "0002" / "0001C2F0001X00823.jpg")  # the older way of naming
    for part in ("query", "gallery"):
        touch(root / part / "0002" / "0010" / "0002_C6_F0002_X31000.jpg")
    touch(root / "gallery" / "0002" / "0011" / "0002_C1_F0001_X32000.jpg")
    touch(root / "gallery" / "0003" / "0012" / "0003_C1_F0001_X33000.jpg")
    return root


def make_market(root: Path) -> Path:
    for name in ("0002_c1s1_000451_03.jpg", "0002_c2s1_000776_01.jpg", "0007_c3s3_077419_03.jpg"):
        touch(root / "bounding_box_train" / name)
    for name in ("0001_c1s1_001051_00.jpg", "0003_c4s1_000001_00.jpg"):
        touch(root / "query" / name)
    for name in ("-1_c1s1_000401_03.jpg", "0000_c2s1_000151_01.jpg", "0001_c1s1_001051_01.jpg"):
        touch(root / "bounding_box_test" / name)
    for name in ("0001_c10s1_000001_01.jpg", "0003_c6s1_000001_01.jpg", "Thumbs.db"):
        touch(root / "bounding_box_test" / name)
    return root


def make_prid(root: Path, people: int = 8, pictures: int = 27) -> Path:
    """`people` of both cameras; 0009 too short in one of them, 0010 in one only, 0300 another person in each."""
    for person in range(1, people + 1):
        for camera in ("cam_a", "cam_b"):
            fill(root / "multi_shot" / camera / f"person_{person:04d}", pictures)
    fill(root / "multi_shot" / "cam_a" / "person_0009", pictures)
    fill(root / "multi_shot" / "cam_b" / "person_0009", pictures - 1)
    fill(root / "multi_shot" / "cam_b" / "person_0010", pictures)
    for camera in ("cam_a", "cam_b"):
        fill(root / "multi_shot" / camera / "person_0300", pictures)
    return root


def write_prid_splits(root: Path, *splits: tuple[list[int], list[int]]) -> None:
    listed = [
        {"train": [f"person_{p:04d}" for p in train], "test": [f"person_{p:04d}" for p in test]}
        for train, test in splits
    ]
    (root / "splits_prid2011.json").write_text(json.dumps(listed))


def make_ilids(root: Path, numbers: tuple[int, ...] = (1, 2, 5, 9)) -> Path:
    for person in numbers:
        for camera in (1, 2):
            for frame in (99, 100, 101):
                name = f"cam{camera}_person{person:03d}_{frame}.png"
                touch(root / "i-LIDS-VID" / "sequences" / f"cam{camera}" / f"person{person:03d}" / name)
    return root


def write_ilids_splits(root: Path, rows: list[list[int]]) -> Path:
    folder = root / "train-test people splits"
    folder.mkdir(parents=True, exist_ok=True)
    savemat(folder / "train_test_splits_ilidsvid.mat", {"ls_set": np.array(rows, np.uint16)})
    return folder / "train_test_splits_ilidsvid.mat"


def fill(folder: Path, pictures: int) -> None:
    for number in range(1, pictures + 1):
        touch(folder / f"{number:04d}.png")
