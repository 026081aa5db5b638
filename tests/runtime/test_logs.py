import io
import logging
import re

import pytest

from pipeline.runtime.logs import redact, setup_logging


@pytest.fixture
def logger():
    logger = logging.Logger("pipeline.test")
    yield logger
    assert logger.handlers == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("open rtsp://admin:hunter2@10.0.0.5/stream1 failed", "open rtsp://***@10.0.0.5/stream1 failed"),
        ("rtsp://admin:p@ss/w:rd@cam/1", "rtsp://***@cam/1"),
        ("redis://:secret@localhost:6379/0", "redis://***@localhost:6379/0"),
        ("'rtsp://a:b@c/1' and 'rtsp://d:e@f/2'", "'rtsp://***@c/1' and 'rtsp://***@f/2'"),
        ("rtsp://cam/1?user=admin&password=hunter2&x=1", "rtsp://cam/1?user=admin&password=***&x=1"),
        ("GET /?token=abcdef HTTP/1.1", "GET /?token=*** HTTP/1.1"),
        ("rtsp://10.0.0.5/stream1", "rtsp://10.0.0.5/stream1"),
        ("mail a@b.example", "mail a@b.example"),
        ("", ""),
    ],
)
def test_secrets_in_urls_are_hidden(text, expected):
    assert redact(text) == expected


def test_a_record_is_one_line_with_time_level_role_name_and_process(logger):
    out = io.StringIO()
    setup = setup_logging("INFO", "worker", "door", stream=out, logger=logger)
    logger.warning("first\nsecond %s", "third")
    logger.debug("too fine")
    setup.close()
    pattern = (
        r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z WARNING worker/door\[\d+\] pipeline\.test: first \| second third\n"
    )
    assert re.fullmatch(pattern, out.getvalue())


def test_no_password_leaves_in_arguments_or_tracebacks(logger):
    out = io.StringIO()
    setup = setup_logging("INFO", "worker", "100%", stream=out, logger=logger)
    url = "rtsp://admin:hunter2@10.0.0.5/stream"
    logger.info("opening %s", url)
    try:
        raise OSError(f"cannot open {url}")
    except OSError:
        logger.exception("failed")
    setup.close()
    lines = out.getvalue().splitlines()
    assert len(lines) == 2
    assert "hunter2" not in out.getvalue() and "Traceback" in lines[1] and "rtsp://***@10.0.0.5/stream" in lines[1]
    assert "worker/100%[" in lines[0]


def test_setting_up_twice_does_not_double_the_lines(logger):
    out = io.StringIO()
    setup_logging("INFO", "main", stream=out, logger=logger)
    setup = setup_logging("INFO", "main", stream=out, logger=logger)
    logger.info("once")
    setup.close()
    assert out.getvalue().count("once") == 1 and " main[" in out.getvalue()


def test_two_set_ups_for_two_streams_stand_side_by_side(logger):
    one, two = io.StringIO(), io.StringIO()
    first = setup_logging("INFO", "main", stream=one, logger=logger)
    second = setup_logging("INFO", "main", stream=two, logger=logger)
    logger.info("both")
    second.close()
    logger.info("one")
    first.close()
    assert one.getvalue().count("\n") == 2 and two.getvalue().count("\n") == 1
    assert logger.level == logging.NOTSET


def test_a_foreign_handler_stays(logger):
    foreign = logging.NullHandler()
    logger.addHandler(foreign)
    setup_logging("INFO", "main", stream=io.StringIO(), logger=logger).close()
    assert logger.handlers == [foreign]
    logger.removeHandler(foreign)


def test_an_unknown_level_is_refused(logger):
    with pytest.raises(ValueError, match="loud"):
        setup_logging("loud", logger=logger)
