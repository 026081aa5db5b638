import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest

from pipeline.errors import OutputError
from pipeline.view.video import VideoWriter

RED, GREEN, BLUE = (40, 40, 200), (40, 200, 40), (200, 40, 40)


def picture(colour: tuple[int, int, int] = RED, height: int = 120, width: int = 160) -> np.ndarray:
    return np.full((height, width, 3), colour, np.uint8)


def read_back(path: Path) -> tuple[list[np.ndarray], float, float]:
    """Frames as BGR, frame rate, duration in seconds."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        frames = [frame.to_ndarray(format="bgr24") for frame in container.decode(stream)]
        return frames, float(stream.average_rate), container.duration / 1e6


def middle(image: np.ndarray) -> list[int]:
    return image[image.shape[0] // 2, image.shape[1] // 2].tolist()


def test_frames_size_rate_length_and_colours_come_back(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "deep" / "door.mp4", 10) as writer:
        for i, colour in enumerate([RED, GREEN, BLUE] * 4):
            writer.write(picture(colour), 1.7e9 + i / 10)
    frames, rate, duration_s = read_back(tmp_path / "deep" / "door.mp4")
    assert len(frames) == 12 and frames[0].shape == (120, 160, 3)
    assert rate == 10 and duration_s == pytest.approx(1.2, abs=0.01)
    for frame, colour in zip(frames, [RED, GREEN, BLUE] * 4, strict=True):
        assert np.abs(np.array(middle(frame)) - colour).max() <= 8
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["door.mp4"]


def test_the_file_is_h264_yuv420p_with_its_index_in_front(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "a.mp4", 10) as writer:
        writer.write(picture(), 0.0)
    with av.open(str(tmp_path / "a.mp4")) as container:
        context = container.streams.video[0].codec_context
        assert (context.name, context.pix_fmt) == ("h264", "yuv420p")
    data = (tmp_path / "a.mp4").read_bytes()
    assert 0 < data.find(b"moov") < data.find(b"mdat")


@pytest.mark.parametrize(("height", "width"), [(121, 161), (120, 161), (121, 160), (1, 1), (37, 53)])
def test_odd_sizes_are_padded_to_even_ones(tmp_path: Path, height: int, width: int) -> None:
    with VideoWriter(tmp_path / "a.mp4", 10) as writer:
        writer.write(picture(height=height, width=width), 0.0)
    frames, _, _ = read_back(tmp_path / "a.mp4")
    assert frames[0].shape == (height + height % 2, width + width % 2, 3)
    assert np.abs(frames[0][-1, -1].astype(int) - RED).max() <= 8  # repeated, not black


@pytest.mark.parametrize("fps", [10, 12.5, 29.97, 1])
def test_the_length_is_the_real_length_at_any_input_rate(tmp_path: Path, fps: float) -> None:
    times = np.cumsum(np.random.default_rng(3).uniform(0.01, 0.3, 40))
    with VideoWriter(tmp_path / "a.mp4", fps) as writer:
        for at_s in times:
            writer.write(picture(), float(at_s))
    frames, rate, duration_s = read_back(tmp_path / "a.mp4")
    assert rate == pytest.approx(fps, rel=1e-3)
    assert duration_s == pytest.approx(times[-1] - times[0] + 1 / fps, abs=1 / fps)
    assert len(frames) == round(duration_s * fps)


def test_a_gap_repeats_the_picture_before_it_and_of_one_slot_the_newest_counts(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "a.mp4", 10) as writer:
        for at_s, colour in ((0.0, RED), (0.5, BLUE), (0.51, GREEN), (0.6, BLUE)):
            writer.write(picture(colour), at_s)
    frames, _, _ = read_back(tmp_path / "a.mp4")
    brightest = [int(np.argmax(middle(frame))) for frame in frames]
    assert brightest == [2] * 5 + [1] + [0]


def test_a_long_pause_is_shortened_and_time_running_backwards_goes_on(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "a.mp4", 10, max_gap_s=1.0) as writer:
        for at_s in (0.0, 0.1, 5000.0, 5000.1, 20.0, 20.1):
            writer.write(picture(), at_s)
    frames, _, _ = read_back(tmp_path / "a.mp4")
    assert len(frames) == 1 + 1 + 10 + 1 + 1 + 1


def test_a_picture_of_another_size_is_fitted_in(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "a.mp4", 10) as writer:
        writer.write(picture(), 0.0)
        writer.write(picture(GREEN, 300, 100), 0.1)
    frames, _, _ = read_back(tmp_path / "a.mp4")
    assert frames[1].shape == (120, 160, 3) and int(np.argmax(middle(frames[1]))) == 1


def test_the_caller_may_reuse_its_array(tmp_path: Path) -> None:
    image = picture(RED)
    with VideoWriter(tmp_path / "a.mp4", 10) as writer:
        writer.write(image, 0.0)
        image[:] = BLUE
        writer.write(image, 0.1)
    frames, _, _ = read_back(tmp_path / "a.mp4")
    assert int(np.argmax(middle(frames[0]))) == 2


def test_the_name_appears_only_when_the_file_is_complete(tmp_path: Path) -> None:
    writer = VideoWriter(tmp_path / "a.mp4", 10)
    writer.write(picture(), 0.0)
    assert not (tmp_path / "a.mp4").exists()
    assert writer.close() == tmp_path / "a.mp4" == writer.close()
    with pytest.raises(ValueError, match="closed"):
        writer.write(picture(), 1.0)


def test_no_picture_leaves_no_file(tmp_path: Path) -> None:
    writer = VideoWriter(tmp_path / "a.mp4", 10)
    assert writer.close() is None
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_leaves_a_complete_file(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), VideoWriter(tmp_path / "a.mp4", 10) as writer:
        for i in range(5):
            writer.write(picture(), i / 10)
        raise KeyboardInterrupt
    assert len(read_back(tmp_path / "a.mp4")[0]) == 5


def test_an_unwritable_place_is_an_error_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot write the video"):
        VideoWriter(tmp_path / "file" / "a.mp4", 10)


def test_a_target_that_is_a_folder_leaves_nothing_half(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").mkdir()
    writer = VideoWriter(tmp_path / "a.mp4", 10)
    writer.write(picture(), 0.0)
    with pytest.raises(OutputError):
        writer.close()
    assert [p.name for p in tmp_path.iterdir()] == ["a.mp4"]


FULL_DISK = """
import resource, signal, sys
import numpy as np
from pipeline.errors import OutputError
from pipeline.view.video import VideoWriter
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))
noise = np.random.default_rng(0)
try:
    with VideoWriter(sys.argv[1], 10) as writer:
        for i in range(int(sys.argv[2])):
            writer.write(noise.integers(0, 255, (240, 320, 3), np.uint8), i / 10)
except OutputError as error:
    print(error)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="limits the size of files the Linux way")
@pytest.mark.parametrize("frames", [2, 100])  # noticed when closing; noticed while writing
def test_a_full_disk_is_one_clear_error_and_leaves_nothing(tmp_path: Path, frames: int) -> None:
    command = [sys.executable, "-c", FULL_DISK, str(tmp_path / "a.mp4"), str(frames)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert "cannot write the video" in done.stdout and "space" in done.stdout
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("fps", [0, -1, float("nan"), float("inf"), 1000])
def test_an_impossible_rate_is_refused(tmp_path: Path, fps: float) -> None:
    with pytest.raises(ValueError, match="fps"):
        VideoWriter(tmp_path / "a.mp4", fps)


@pytest.mark.parametrize("image", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3)), np.zeros((0, 4, 3), np.uint8)])
def test_a_wrong_picture_is_refused_and_the_writer_goes_on(tmp_path: Path, image: np.ndarray) -> None:
    with VideoWriter(tmp_path / "a.mp4", 10) as writer:
        with pytest.raises(ValueError, match="uint8"):
            writer.write(image, 0.0)
        with pytest.raises(ValueError, match="finite"):
            writer.write(picture(), float("nan"))
        writer.write(picture(), 0.0)
    assert len(read_back(tmp_path / "a.mp4")[0]) == 1
