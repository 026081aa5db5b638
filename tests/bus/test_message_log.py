import io
import json
import logging
import stat
import struct
import zlib
from pathlib import Path

import pytest
from bus_examples import examples
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.bus.codec import decode, encode
from pipeline.bus.message_log import MESSAGE, LogReader, LogWriter
from pipeline.errors import DecodeError, OutputError

HEADER = {"log": "test", "schema": 1, "site": "lobby"}
FIELDS = {b"a": b"1", b"": b"", b"\xff": bytes(range(256))}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "test.mcplog"


def write(path: Path, count: int, **options: object) -> list[int]:
    """`count` records, a chunk each; where each chunk ends."""
    log = LogWriter(path, HEADER, **options)  # type: ignore[arg-type]
    ends = []
    for n in range(count):
        log.add("X", {b"n": str(n).encode()})
        log.flush()
        ends.append(path.stat().st_size)
    log.close()
    return ends


def numbers(path: Path) -> list[int]:
    return [int(record.fields[b"n"]) for record in LogReader(path).records()]


def test_records_come_back_in_order_with_their_fields_and_the_header(path: Path) -> None:
    log = LogWriter(path, {**HEADER, "camera_id": "door"})
    log.add("X", FIELDS)
    log.add("Y", {})
    log.close()
    log.close()
    reader = LogReader(path)
    assert reader.header == {**HEADER, "camera_id": "door"}
    for _ in range(2):
        assert [(r.kind, r.fields) for r in reader.records()] == [("X", FIELDS), ("Y", {})]
    assert not reader.truncated


def test_every_message_of_the_bus_comes_back_to_the_bit(path: Path) -> None:
    log = LogWriter(path, HEADER)
    encoded = [encode(message) for message in examples().values()]
    for fields in encoded:
        log.add(MESSAGE, fields)
    log.close()
    found = [record.fields for record in LogReader(path).records()]
    assert found == encoded
    assert [encode(decode(fields)) for fields in found] == encoded


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.tuples(st.sampled_from("ABC"), st.dictionaries(st.binary(max_size=9), st.binary(max_size=99)))))
def test_any_fields_come_back(tmp_path: Path, records: list[tuple[str, dict[bytes, bytes]]]) -> None:
    path = tmp_path / "any.mcplog"
    path.unlink(missing_ok=True)
    log = LogWriter(path, HEADER, chunk_bytes=100)
    for kind, fields in records:
        log.add(kind, fields)
    log.close()
    assert [(r.kind, r.fields) for r in LogReader(path).records()] == records


def test_a_log_without_records_has_its_header(path: Path) -> None:
    LogWriter(path, HEADER).close()
    assert list(LogReader(path).records()) == []


def test_a_file_cut_off_anywhere_loses_only_its_end_and_says_so(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    LogWriter(path, HEADER).close()
    header_ends = path.stat().st_size
    ends = [header_ends, *write(path, 4, append=True)]
    whole = path.read_bytes()
    for size in range(header_ends, len(whole)):
        path.write_bytes(whole[:size])
        caplog.clear()
        expected = sum(end <= size for end in ends[1:])
        reader = LogReader(path)
        assert [int(r.fields[b"n"]) for r in reader.records()] == list(range(expected))
        assert reader.truncated == (size not in ends)
        assert len([r for r in caplog.records if "cut off at byte" in r.message]) == reader.truncated


def test_a_writer_that_was_killed_leaves_what_it_flushed(path: Path) -> None:
    log = LogWriter(path, HEADER, chunk_bytes=None)
    log.add("X", {b"n": b"0"})
    log.flush()
    log.add("X", {b"n": b"1" * 10})
    assert numbers(path) == [0]
    log.close()


def test_going_on_after_a_torn_end_cuts_it_off(path: Path) -> None:
    write(path, 3)
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size - 1)
    log = LogWriter(path, HEADER, append=True)
    log.add("X", {b"n": b"77"})
    log.close()
    assert numbers(path) == [0, 1, 77]
    write(path, 2, append=True)
    assert numbers(path) == [0, 1, 77, 0, 1]


def test_damage_before_the_end_is_an_error_and_not_a_shorter_log(path: Path) -> None:
    ends = write(path, 4)
    content = bytearray(path.read_bytes())
    content[ends[1] - 1] ^= 1
    path.write_bytes(content)
    with pytest.raises(DecodeError, match="damaged before byte"):
        numbers(path)
    with pytest.raises(DecodeError, match="damaged"):
        LogWriter(path, HEADER, append=True)
    content[ends[1] - 1] ^= 1
    content[-1] ^= 1
    path.write_bytes(content)
    assert numbers(path) == [0, 1, 2]


def test_what_is_there_is_not_written_over_and_another_log_is_not_appended_to(path: Path) -> None:
    write(path, 1)
    with pytest.raises(OutputError, match="exists"):
        LogWriter(path, HEADER)
    for other in ({"log": "other"}, {"schema": 3}, {"site": "hall"}):
        with pytest.raises(DecodeError, match=f"{next(iter(other))} .* and not"):
            LogWriter(path, {**HEADER, **other}, append=True)
    assert numbers(path) == [0]


def test_two_writers_at_once_are_refused(path: Path) -> None:
    log = LogWriter(path, HEADER)
    with pytest.raises(OutputError, match="another process"):
        LogWriter(path, HEADER, append=True)
    log.close()
    LogWriter(path, HEADER, append=True).close()


def test_only_the_owner_may_read_features_of_people(path: Path) -> None:
    write(path, 1)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "no recording of messages"),
        (b"MCPLO", "no recording of messages"),
        (b"something else entirely", "no recording of messages"),
        (b"MCPLOG02", "version '02'"),
        (b"MCPLOG01", "ends before its header"),
        (b"MCPLOG01" + b"\x01\x05\x00\x00\x00", "ends before its header"),
    ],
)
def test_what_is_no_log_is_named(path: Path, content: bytes, words: str) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(DecodeError, match=words):
        LogReader(path)


def chunk(raw: bytes) -> bytes:
    deflate = zlib.compressobj(6, zlib.DEFLATED, -15)
    data = deflate.compress(raw) + deflate.flush(zlib.Z_SYNC_FLUSH)
    return struct.pack("<BII", 1, len(data), zlib.crc32(b"\x01" + data)) + data


@pytest.mark.parametrize("raw", [b"X\x01\x00\x00\x00\xff\xff\xff\xff", b"X\x09\x00", b"X\x02\x00\x00\x00" + bytes(8)])
def test_records_that_do_not_fill_their_chunk_are_damage(path: Path, raw: bytes) -> None:
    LogWriter(path, HEADER).close()
    with path.open("ab") as file:
        file.write(chunk(raw) + chunk(b"X" + bytes(4)))
    with pytest.raises(DecodeError, match="damaged"):
        list(LogReader(path).records())


def test_the_reader_that_the_page_shows_reads_it(path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "recordings.md").read_text()
    code = page.partition("```python\n")[2].partition("```")[0].replace('open(path, "rb").read()', "path.read_bytes()")
    names: dict = {}
    exec(code, names)
    write(path, 2)
    write(path, 1, append=True)
    kinds = [(kind, dict(fields)) for kind, fields in names["records"](path)]
    assert [kind for kind, _ in kinds] == ["H", "X", "X", "X"]
    assert json.loads(kinds[0][1][b"header"]) == HEADER
    assert [fields[b"n"] for _, fields in kinds[1:]] == [b"0", b"1", b"0"]


def test_a_chunk_has_the_bytes_that_the_page_says(path: Path) -> None:
    write(path, 2)
    raw, at = path.read_bytes(), 8
    assert raw[:8] == b"MCPLOG01"
    inflate, plain = zlib.decompressobj(-15), b""
    while at < len(raw):
        begins, size, crc = struct.unpack_from("<BII", raw, at)
        data = raw[at + 9 : at + 9 + size]
        assert begins == (at == 8) and zlib.crc32(bytes([begins]) + data) == crc
        plain += inflate.decompress(data)
        at += 9 + size
    assert plain.startswith(b"H\x01\x00\x00\x00\x06\x00\x00\x00header")
    assert plain.endswith(b"X\x01\x00\x00\x00\x01\x00\x00\x00n\x01\x00\x00\x001")


def test_a_disk_that_says_no_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot write"):
        LogWriter(tmp_path / "file" / "x.mcplog", HEADER)
    with pytest.raises(DecodeError, match="cannot read"):
        LogReader(tmp_path / "absent.mcplog")
    if Path("/dev/full").exists():
        log = LogWriter(tmp_path / "x.mcplog", HEADER)
        log._file.close()
        log._file = io.FileIO("/dev/full", "w")
        log.add("X", {b"n": b"0"})
        with pytest.raises(OutputError, match="free some space"):
            log.flush()
        log.close()


def test_reading_the_header_alone_warns_of_nothing(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(path, 2)
    with path.open("ab") as file:
        file.write(b"\x00")
    with caplog.at_level(logging.WARNING):
        assert LogReader(path).header == HEADER
    assert caplog.records == []
