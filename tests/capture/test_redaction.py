import string

from hypothesis import example, given
from hypothesis import strategies as st

from pipeline.capture.redaction import redact, redact_url

SECRETS = st.text(
    st.sampled_from(string.ascii_letters + string.digits + "!$%^*()_+-=:@/?#~.,"), min_size=1, max_size=20
)
WORDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)


def secret(text: str) -> str:
    """A secret that occurs nowhere else in the text around it."""
    return f"Zq{text}Zq"


@given(user=SECRETS, password=SECRETS, before=WORDS, after=WORDS)
@example(user="admin", password="p@ss/word?x#y", before="open failed: '", after="'")
def test_no_password_of_a_url_inside_a_text_survives(user: str, password: str, before: str, after: str) -> None:
    url = f"rtsp://{secret(user)}:{secret(password)}@10.0.0.5:554/stream1"
    shown = redact(f"{before}{url} {after}")
    assert secret(password) not in shown
    assert secret(user) not in shown
    assert "10.0.0.5:554/stream1" in shown


@given(password=WORDS)
def test_a_text_that_is_one_url_loses_even_a_password_with_blanks(password: str) -> None:
    shown = redact_url(f"rtsp://admin:{secret(password)}@camera/1")
    assert shown.endswith("@camera/1")
    assert secret(password) not in shown


@given(WORDS)
def test_redacting_twice_changes_nothing_more(text: str) -> None:
    assert redact(redact(text)) == redact(text)


def test_token_like_query_values_are_hidden_and_others_stay() -> None:
    shown = redact("http://cam/live?channel=1&token=abc&access_token=d.e&Password=x1&subtype=0")
    assert shown == "http://cam/live?channel=1&token=***&access_token=***&Password=***&subtype=0"


def test_credentials_in_the_path_are_hidden() -> None:
    shown = redact("rtsp://10.0.0.9:554/user=admin&password=hunter2&channel=1&stream=0.sdp")
    assert shown == "rtsp://10.0.0.9:554/user=***&password=***&channel=1&stream=0.sdp"


def test_every_url_of_a_text_is_redacted() -> None:
    assert redact("rtsp://a:b@x/1 then rtsps://c:d@y/2") == "rtsp://***@x/1 then rtsps://***@y/2"


def test_texts_without_credentials_stay_as_they_are() -> None:
    for text in (
        "",
        "no url",
        "rtsp://10.0.0.5/stream1",
        "mail a@b.c",
        "password=x outside of a URL",
        "C:/video@1.mp4",
    ):
        assert redact(text) == text
    assert redact_url("plain") == "plain"
