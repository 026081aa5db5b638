"""seqinfo.ini of a MOTChallenge sequence."""

from pathlib import Path

import pytest

from pipeline.errors import DecodeError
from pipeline.seqinfo import SequenceInfo, read_seqinfo

WHOLE = "[Sequence]\nname=x\nimDir=pictures\nframeRate=29.97\nseqLength=600\nimWidth=1920\nimHeight=1080\nimExt=.jpg\n"


def test_everything_that_is_stated_is_read(tmp_path: Path) -> None:
    (tmp_path / "seqinfo.ini").write_text(WHOLE)
    assert read_seqinfo(tmp_path / "seqinfo.ini") == SequenceInfo(29.97, 600, (1920, 1080), "pictures")


def test_a_file_that_is_not_there_says_nothing(tmp_path: Path) -> None:
    assert read_seqinfo(tmp_path / "seqinfo.ini") == SequenceInfo()


def test_what_is_left_out_stays_unknown(tmp_path: Path) -> None:
    (tmp_path / "seqinfo.ini").write_text("[Sequence]\nimWidth=640\n")
    assert read_seqinfo(tmp_path / "seqinfo.ini") == SequenceInfo()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "is not a MOTChallenge seqinfo.ini"),
        ("[Other]\nframeRate=1\n", "is not a MOTChallenge seqinfo.ini"),
        ("[Sequence]\nframeRate=0\n", "frameRate: expected a number above 0, got '0'"),
        ("[Sequence]\nframeRate=nan\n", "frameRate: expected a number above 0, got 'nan'"),
        ("[Sequence]\nseqLength=many\n", "seqLength: expected a number above 0, got 'many'"),
        ("[Sequence]\nseqLength=2.5\n", "seqLength: expected a number above 0, got '2.5'"),
        ("[Sequence]\nimWidth=inf\nimHeight=3\n", "imWidth: expected a number above 0, got 'inf'"),
    ],
)
def test_values_that_make_no_sense_are_named(tmp_path: Path, text: str, reason: str) -> None:
    (tmp_path / "seqinfo.ini").write_text(text)
    with pytest.raises(DecodeError, match=reason):
        read_seqinfo(tmp_path / "seqinfo.ini")
