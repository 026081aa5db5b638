import logging
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from capture_clips import encode_clip, needs_encoder, picture

from pipeline.capture.files import VideoFileSource
from pipeline.errors import SourceLost, SourceUnavailable
from pipeline.types import Frame


def read(path: Path, **times: float) -> tuple[list[Frame], VideoFileSource]:
    source = VideoFileSource("hall", path, **times)
    return list(source.frames()), source


def one_line(error: pytest.ExceptionInfo[Exception]) -> str:
    text = str(error.value)
    assert text and "\n" not in text
    return text


def test_every_picture_comes_once_in_order_with_its_presentation_time(clip: Path) -> None:
    frames, source = read(clip, start_time_s=1000.0, clock_offset_s=0.5)
    assert [frame.index for frame in frames] == list(range(50))
    assert [frame.captured_at_s for frame in frames] == pytest.approx([1000.5 + 0.04 * i for i in range(50)])
    assert {frame.epoch for frame in frames} == {"1"}
    assert {frame.camera_id for frame in frames} == {"hall"}
    assert not any(frame.damaged for frame in frames)
    assert source.damaged_at is None
    for index in (0, 7, 49):
        assert np.abs(frames[index].image.astype(int) - picture(index)).mean() < 12


def test_a_file_can_be_read_again(clip: Path) -> None:
    source = VideoFileSource("hall", clip)
    first, second = list(source.frames()), list(source.frames())
    assert [frame.captured_at_s for frame in first] == [frame.captured_at_s for frame in second]
    assert all((a.image == b.image).all() for a, b in zip(first, second, strict=True))


def test_pictures_stored_out_of_order_come_in_order_of_presentation(tmp_path: Path) -> None:
    needs_encoder()
    path = tmp_path / "b-frames.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 160, 120, "yuv420p"
        stream.options = {"bf": "2", "b_strategy": "0", "g": "12"}
        for index in range(30):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture(index), format="bgr24")))
        container.mux(stream.encode())
    frames, _ = read(path)
    assert [frame.captured_at_s for frame in frames] == pytest.approx([0.04 * i for i in range(30)])
    assert all(np.abs(frame.image.astype(int) - picture(frame.index)).mean() < 12 for frame in frames)


def test_uneven_presentation_times_are_kept(tmp_path: Path) -> None:
    needs_encoder()
    path, stamps = tmp_path / "uneven.mkv", [0, 40, 200, 210, 1000]
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 160, 120, "yuv420p"
        stream.options = {"bf": "0"}
        stream.codec_context.time_base = Fraction(1, 1000)
        for index, stamp in enumerate(stamps):
            frame = av.VideoFrame.from_ndarray(picture(index), format="bgr24")
            frame.pts, frame.time_base = stamp, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    frames, source = read(path)
    assert [frame.captured_at_s for frame in frames] == pytest.approx([0.0, 0.04, 0.2, 0.21, 1.0], abs=0.002)
    assert source.counters["repaired_stamps"] == 0


def test_a_raw_stream_without_stamps_takes_the_average_rate_and_says_so_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    needs_encoder()
    frames, source = read(encode_clip(tmp_path / "raw.h264", count=20))
    assert len(frames) == 20
    assert np.diff([frame.captured_at_s for frame in frames]) == pytest.approx([0.04] * 19)
    if source.counters["repaired_stamps"]:
        assert caplog.text.count("average rate") == 1


def test_a_change_of_size_begins_an_epoch_and_numbers_go_on(tmp_path: Path) -> None:
    needs_encoder()
    parts = [
        encode_clip(tmp_path / "1.h264", count=10).read_bytes(),
        encode_clip(tmp_path / "2.h264", count=10, size_px=(200, 160)).read_bytes(),
    ]
    both = tmp_path / "both.h264"
    both.write_bytes(b"".join(parts))
    frames, _ = read(both)
    assert [frame.index for frame in frames] == list(range(20))
    assert {(frame.epoch, frame.image.shape) for frame in frames} == {("1", (120, 160, 3)), ("2", (160, 200, 3))}
    assert (np.diff([frame.captured_at_s for frame in frames]) > 0).all()


def test_stamps_that_start_again_in_the_middle_do_not_lead_back_in_time(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    needs_encoder()
    one = encode_clip(tmp_path / "one.ts", count=25).read_bytes()
    twice = tmp_path / "twice.ts"
    twice.write_bytes(one + one)
    frames, source = read(twice)
    assert len(frames) == 50
    assert (np.diff([frame.captured_at_s for frame in frames]) > 0).all()
    assert source.counters["repaired_stamps"] > 0
    assert caplog.text.count("average rate") == 1


def test_a_file_cut_off_in_the_middle_delivers_what_it_has_and_warns(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    needs_encoder()
    whole = encode_clip(tmp_path / "whole.mp4", muxer_options={"movflags": "faststart"}).read_bytes()
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(whole[: len(whole) // 2])
    with caplog.at_level(logging.WARNING):
        frames, source = read(cut)
    assert 5 < len(frames) < 45
    assert source.damaged_at is not None
    assert source.damaged_at <= len(frames)
    assert caplog.text.count("cut off or damaged") == 1


def test_a_cut_file_without_a_count_of_pictures_is_noticed_by_its_duration(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    needs_encoder()
    whole = encode_clip(tmp_path / "whole.mkv", count=100).read_bytes()
    (tmp_path / "cut.mkv").write_bytes(whole[: len(whole) // 3])
    frames, source = read(tmp_path / "cut.mkv")
    assert 10 < len(frames) < 60
    assert source.damaged_at is not None
    assert caplog.text.count("cut off or damaged") == 1


def test_damage_in_the_middle_marks_frames_until_the_next_key_frame(tmp_path: Path) -> None:
    needs_encoder()
    content = bytearray(encode_clip(tmp_path / "whole.mkv").read_bytes())
    middle = len(content) // 2
    content[middle : middle + 400] = np.random.default_rng(2).bytes(400)
    damaged = tmp_path / "damaged.mkv"
    damaged.write_bytes(content)
    frames, source = read(damaged)
    flags = [frame.damaged for frame in frames]
    assert any(flags)
    assert not flags[0]
    assert not flags[-1]
    assert source.damaged_at is not None
    assert source.counters["damaged"] == sum(flags)


def test_a_missing_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(SourceUnavailable) as error:
        read(tmp_path / "none.mp4")
    assert "does not exist" in one_line(error)


def test_a_folder_is_not_a_file(tmp_path: Path) -> None:
    with pytest.raises(SourceUnavailable) as error:
        read(tmp_path)
    assert "folder" in one_line(error)


def test_an_empty_file_says_so(tmp_path: Path) -> None:
    (tmp_path / "empty.mp4").touch()
    with pytest.raises(SourceUnavailable) as error:
        read(tmp_path / "empty.mp4")
    assert "empty" in one_line(error)


@pytest.mark.parametrize("name", ["noise.mp4", "noise.mkv", "noise.avi", "noise.txt"])
def test_noise_is_refused_in_one_line(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(np.random.default_rng(1).bytes(20_000))
    with pytest.raises((SourceUnavailable, SourceLost)) as error:
        read(tmp_path / name)
    assert name in one_line(error)


def test_an_mp4_whose_index_is_missing_is_refused(tmp_path: Path, clip: Path) -> None:
    path = tmp_path / "cut.mp4"
    path.write_bytes(clip.read_bytes()[: clip.stat().st_size // 2])
    with pytest.raises(SourceUnavailable) as error:
        read(path)
    assert "cut.mp4" in one_line(error)


def test_a_file_with_sound_alone_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "sound.wav"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    with pytest.raises(SourceUnavailable) as error:
        read(path)
    assert "no video stream" in one_line(error)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("list.m3u8", "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{clip}\n#EXT-X-ENDLIST\n"),
        ("list.ffconcat", "ffconcat version 1.0\nfile {clip}\n"),
        (
            "list.sdp",
            "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=t\nc=IN IP4 127.0.0.1\nm=video 9 RTP/AVP 96\na=rtpmap:96 H264/90000\n",
        ),
    ],
)
def test_a_playlist_reaches_neither_files_nor_addresses(tmp_path: Path, clip: Path, name: str, text: str) -> None:
    (tmp_path / "clip.mp4").write_bytes(clip.read_bytes())
    (tmp_path / name).write_text(text.format(clip="clip.mp4"))
    with pytest.raises(SourceUnavailable) as error:
        read(tmp_path / name)
    one_line(error)


def test_closing_ends_the_frames(clip: Path) -> None:
    source = VideoFileSource("hall", clip)
    frames = source.frames()
    next(frames)
    source.close()
    source.close()
    assert list(frames) == []
