"""The web page over real HTTP on loopback."""

import http.client
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest

from pipeline.errors import ConfigError, OutputError
from pipeline.types import IdentityEvent, TrackKey
from pipeline.view.dashboard import Dashboard
from pipeline.view.previews import PreviewHub

TOKEN = "a token with spaces & signs %?#"
PREVIEWS = {"door": b"\xff\xd8door\xff\xd9", "hall": b"\xff\xd8hall\xff\xd9"}
AUTHORIZED = {"Authorization": f"Bearer {TOKEN}"}


def status() -> dict[str, Any]:
    cameras = {"door": {"state": "LIVE", "fps": float("nan")}, "elsewhere": {"state": "LIVE"}}
    return {"site": "lobby", "cameras": cameras, "warnings": ["fallback"], "figures": {"losses": 0}}


def make(**options: Any) -> Dashboard:
    given = {"host": "127.0.0.1", "port": 0, "token": TOKEN, "cameras": ("door", "hall"), "status": status}
    return Dashboard(**{**given, "previews": PreviewHub(PREVIEWS), **options})


@pytest.fixture(scope="module")
def page() -> Iterator[Dashboard]:
    """One server for all tests that only ask and leave no trace; starting and stopping one takes 0.3 s."""
    with make() as running:
        yield running


@pytest.fixture
def dashboard() -> Iterator[Dashboard]:
    with make() as running:
        yield running


def ask(
    dashboard: Dashboard, path: str, headers: dict[str, str] | None = None, method: str = "GET"
) -> tuple[int, http.client.HTTPMessage, bytes]:
    with closing(http.client.HTTPConnection("127.0.0.1", dashboard.port, timeout=10)) as connection:
        connection.request(method, path, headers=AUTHORIZED if headers is None else headers)
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()


def ask_json(dashboard: Dashboard, path: str) -> Any:
    code, _, body = ask(dashboard, path)
    assert code == 200, body
    return json.loads(body)


def wait_for(condition: Callable[[], bool], limit_s: float = 10.0) -> None:
    deadline_s = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline_s, "waited too long"
        time.sleep(0.005)


def watch(dashboard: Dashboard, camera: str = "door", receive_buffer: int | None = None) -> socket.socket:
    """A viewer that has sent its request and read nothing yet."""
    viewer = socket.socket()
    if receive_buffer:
        viewer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    viewer.settimeout(10)
    viewer.connect(("127.0.0.1", dashboard.port))
    request = f"GET /api/preview/{camera}.mjpg HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n\r\n"
    viewer.sendall(request.encode())
    return viewer


def read_until(viewer: socket.socket, text: bytes) -> bytes:
    got = b""
    while text not in got:
        part = viewer.recv(65536)
        assert part, f"the stream ended after {got[-200:]!r}"
        got += part
    return got


# ---- who may come in


def test_without_the_token_nothing_is_answered(page: Dashboard) -> None:
    for path in (
        "/",
        "/app.js",
        "/api/status",
        "/api/events",
        "/api/preview/door.jpg",
        "/nothing",
        "/?token=wrong",
        "/?token=",
    ):
        code, _, body = ask(page, path, {})
        assert code == 401 and b"lobby" not in body
    assert ask(page, "/", {"Authorization": "Bearer wrong"})[0] == 401
    assert ask(page, "/", {"Cookie": f"page_{page.port}={TOKEN}"})[0] == 401
    assert ask(page, "/", {"Cookie": "\xff=;;;="})[0] == 401


def test_the_token_in_the_address_is_exchanged_for_a_cookie(page: Dashboard) -> None:
    path = page.url.partition(f":{page.port}")[2]
    code, headers, body = ask(page, path, {})
    cookie = headers["Set-Cookie"]
    assert code == 200 and b'url=/"' in body
    assert "HttpOnly" in cookie and "samesite=strict" in cookie.lower() and TOKEN not in cookie
    own = {"Cookie": f"other=1; {cookie.split(';')[0]}"}
    assert ask(page, "/", own)[0] == ask(page, "/api/status", own)[0] == 200


def test_one_servers_cookie_does_not_open_another(page: Dashboard) -> None:
    cookie = ask(page, page.url.partition(f":{page.port}")[2], {})[1]["Set-Cookie"].split(";")[0]
    with make(token="another long token") as other:
        value = cookie.partition("=")[2]
        assert ask(other, "/", {"Cookie": f"page_{other.port}={value}"})[0] == 401


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:80", "localhost.evil.example", "", "x@localhost", "[::1"]
)
def test_a_foreign_host_is_refused_even_with_the_token(page: Dashboard, host: str) -> None:
    assert ask(page, "/", {**AUTHORIZED, "Host": host})[0] == 403


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:1", "[::1]:8765", "10.1.2.3", "LOCALHOST:5"])
def test_own_names_and_numeric_addresses_are_fine(page: Dashboard, host: str) -> None:
    assert ask(page, "/", {**AUTHORIZED, "Host": host})[0] == 200


def test_nothing_can_be_changed_and_a_foreign_origin_may_not_even_try(page: Dashboard) -> None:
    foreign = {**AUTHORIZED, "Origin": "http://evil.example"}
    own = {**AUTHORIZED, "Origin": f"http://127.0.0.1:{page.port}"}
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        assert ask(page, "/api/status", foreign, method)[0] == 403
        assert ask(page, "/api/status", {**AUTHORIZED, "Origin": "null"}, method)[0] == 403
        assert ask(page, "/api/status", own, method)[0] == 405


@pytest.mark.parametrize("path", ["/", "/nothing", "/api/status", "/api/preview/door.jpg"])
@pytest.mark.parametrize("who", [AUTHORIZED, {}, {**AUTHORIZED, "Host": "evil.example"}])
def test_every_answer_carries_the_security_headers(page: Dashboard, path: str, who: dict[str, str]) -> None:
    _, headers, _ = ask(page, path, who)
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy and "frame-ancestors 'none'" in policy
    assert headers["X-Content-Type-Options"] == "nosniff" and headers["Referrer-Policy"] == "no-referrer"
    assert headers["Cache-Control"] == "no-store" and "server" not in headers


@pytest.mark.parametrize("host", ["0.0.0.0", "10.0.0.5", "::", "example.org", ""])
def test_an_address_that_others_reach_needs_an_explicit_word(host: str) -> None:
    with pytest.raises(ConfigError, match="insecure"):
        make(host=host)


def test_with_the_explicit_word_it_listens_everywhere_and_the_token_stays() -> None:
    with make(host="0.0.0.0", insecure=True, hosts=("cameras.example",)) as running:
        assert "0.0.0.0" not in running.url
        assert ask(running, "/", {})[0] == 401
        assert ask(running, "/", {**AUTHORIZED, "Host": "cameras.example"})[0] == 200
        assert ask(running, "/", {**AUTHORIZED, "Host": "evil.example"})[0] == 403


def test_a_short_token_is_refused_and_none_makes_a_long_one() -> None:
    with pytest.raises(ValueError, match="16"):
        make(token="short")
    assert len(make(token=None).token) >= 32 and make(token=None).token != make(token=None).token


def test_a_taken_port_is_a_clear_error(page: Dashboard) -> None:
    with pytest.raises(OutputError, match=r"view\.port"):
        make(port=page.port).start()


# ---- what there is


def test_the_page_has_no_inline_script_and_needs_nobody_else(page: Dashboard) -> None:
    pages = [ask(page, path)[2].decode() for path in ("/", "/app.js", "/app.css", "/icon.svg")]
    assert (
        "<script src=" in pages[0]
        and "<script>" not in pages[0]
        and "style=" not in pages[0]
        and "onclick" not in pages[0]
    )
    assert "innerHTML" not in pages[1] and "eval" not in pages[1]
    assert all(
        "http://" not in page.replace("http://www.w3.org/2000/svg", "") and "https://" not in page for page in pages
    )


def test_status_tells_of_the_configured_cameras_only_and_numbers_stay_json(page: Dashboard) -> None:
    answer = ask_json(page, "/api/status")
    assert answer["site"] == "lobby" and answer["warnings"] == ["fallback"] and answer["figures"] == {"losses": 0}
    assert answer["cameras"] == [{"state": "LIVE", "fps": None, "id": "door"}, {"state": "UNKNOWN", "id": "hall"}]


def test_an_empty_status_is_enough() -> None:
    with make(status=dict, cameras=()) as running:
        assert ask_json(running, "/api/status")["cameras"] == []


def test_events_and_identities_appear(dashboard: Dashboard) -> None:
    assert ask_json(dashboard, "/api/events")["events"] == []
    dashboard.write(IdentityEvent(1, "entered", 7, TrackKey("door", "1", 1), 5.0, 5.4))
    answer = ask_json(dashboard, "/api/events?after=0")
    assert [(e["identity_id"], e["text"]) for e in answer["events"]] == [(7, "entered door")]
    assert answer["events"][0]["colour"].startswith("#")
    assert ask_json(dashboard, f"/api/events?after={answer['newest']}")["events"] == []
    assert ask_json(dashboard, "/api/status")["identities"][0]["identity_id"] == 7


@pytest.mark.parametrize("after", ["x", "-1", "1.5", "9" * 30, "%00", "²"])
def test_a_wrong_question_is_a_client_error(page: Dashboard, after: str) -> None:
    quoted = after if after.isascii() else "%C2%B2"
    assert ask(page, f"/api/events?after={quoted}")[0] == 400


@pytest.mark.parametrize(
    "name",
    [
        "cellar.jpg",
        "cellar.mjpg",
        "door",
        "door.png",
        "door.",
        ".jpg",
        "%2e%2e%2fdoor.jpg",
        "..%2f..%2fetc%2fpasswd",
        "../status.jpg",
        "..%5c..%5cdoor.jpg",
        "door.jpg%00",
        "door%2f.jpg",
        "DOOR.jpg",
        "%ff.jpg",
        "elsewhere.jpg",
    ],
)
def test_unknown_cameras_and_path_traversal_are_not_found(page: Dashboard, name: str) -> None:
    assert ask(page, f"/api/preview/{name}")[0] == 404


@pytest.mark.parametrize(
    "path",
    ["/../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "/static/app.js", "/app.js/..", "//etc/passwd", "/app.py"],
)
def test_no_file_but_the_pages_own_is_served(page: Dashboard, path: str) -> None:
    assert ask(page, path)[0] == 404


def test_a_single_picture_is_empty_at_first_then_the_newest(dashboard: Dashboard) -> None:
    hub = dashboard._previews
    assert not hub.wanted("hall")
    assert ask(dashboard, "/api/preview/hall.jpg")[0] == 204
    assert hub.wanted("hall") and not hub.wanted("door")
    hub.publish("hall", b"old")
    hub.publish("hall", PREVIEWS["hall"])
    code, headers, body = ask(dashboard, "/api/preview/hall.jpg")
    assert (code, headers["Content-Type"], body) == (200, "image/jpeg", PREVIEWS["hall"])


# ---- streams


def test_a_stream_brings_pictures_as_they_come_and_ends_the_want_when_the_viewer_goes(dashboard: Dashboard) -> None:
    hub = dashboard._previews
    with closing(watch(dashboard)) as viewer:
        wait_for(lambda: hub.wanted("door"))
        for i in range(3):
            hub.publish("door", b"picture %d!" % i)
            got = read_until(viewer, b"picture %d!\r\n--frame\r\n" % i)
            assert b"Content-Length: 10" in got
    wait_for(lambda: not hub.wanted("door"))


def test_asking_for_the_head_of_a_stream_does_not_watch(page: Dashboard) -> None:
    code, headers, body = ask(page, "/api/preview/hall.mjpg", method="HEAD")
    assert code == 200 and headers["Content-Type"].startswith("multipart/x-mixed-replace") and body == b""
    assert not page._previews.wanted("hall")


class Publisher(threading.Thread):
    """Publishes large pictures of one camera all the time, and notes the longest that it was held up."""

    def __init__(self, hub: PreviewHub) -> None:
        super().__init__()
        self._hub = hub
        self._stop_now = threading.Event()
        self.longest_s = 0.0

    def run(self) -> None:
        while not self._stop_now.wait(0.02):
            begin_s = time.perf_counter()
            self._hub.publish("door", b"x" * 100_000)
            self.longest_s = max(self.longest_s, time.perf_counter() - begin_s)

    def __enter__(self) -> "Publisher":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop_now.set()
        self.join()


def test_a_viewer_that_never_reads_is_dropped_and_holds_nobody_up() -> None:
    hub = PreviewHub(PREVIEWS)
    with (
        make(previews=hub, stuck_s=0.5) as running,
        closing(watch(running, receive_buffer=4096)) as stuck,
        closing(watch(running)) as reader,
    ):
        wait_for(lambda: len(running._viewers) == 2)

        def pictures_until(enough: Callable[[int], bool]) -> int:
            pictures, deadline_s = 0, time.monotonic() + 15
            while not enough(pictures):
                assert time.monotonic() < deadline_s
                pictures += reader.recv(1 << 20).count(b"--frame\r\n")
            return pictures

        with Publisher(hub) as publisher:
            while_stuck = pictures_until(lambda n: len(running._viewers) == 1)
            assert while_stuck >= 5  # in half a second, out of some twenty-five
            with pytest.raises(ConnectionResetError):
                while stuck.recv(1 << 20):
                    pass
            pictures_until(lambda n: n >= 5)
        assert publisher.longest_s < 0.5


def test_too_many_viewers_are_turned_away_until_one_leaves() -> None:
    with make(max_viewers=1) as running:
        with closing(watch(running)) as first:
            wait_for(lambda: len(running._viewers) == 1)
            code, headers, _ = ask(running, "/api/preview/hall.mjpg")
            assert code == 503 and headers["Retry-After"]
            assert ask(running, "/api/preview/hall.jpg")[0] == 204
            running._previews.publish("door", b"still there")
            read_until(first, b"still there")
        wait_for(lambda: len(running._viewers) == 0)
        with closing(watch(running)) as second:
            read_until(second, b"200 OK")


def test_stopping_ends_running_and_stuck_streams_quickly() -> None:
    hub = PreviewHub(PREVIEWS)
    running = make(previews=hub)
    running.start()
    with closing(watch(running, "hall")) as idle, closing(watch(running, receive_buffer=4096)) as stuck:
        wait_for(lambda: len(running._viewers) == 2)
        for _ in range(50):
            hub.publish("door", b"x" * 200_000)
            time.sleep(0.002)  # so that the stuck viewer's buffers fill up
        begin_s = time.monotonic()
        running.stop()
        assert time.monotonic() - begin_s < 4.0
        idle.settimeout(5)
        stuck.settimeout(5)
        assert read_until(idle, b"0\r\n\r\n")  # an orderly end
        with pytest.raises(ConnectionResetError):
            while stuck.recv(1 << 20):
                pass
    assert running._thread is not None and not running._thread.is_alive()
    hub.publish("door", b"nobody is there any more")
    running.stop()
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.1", running.port), timeout=2).close()


def test_stopping_before_the_start_does_no_harm() -> None:
    make().stop()


def test_a_camera_without_previews_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="cellar"):
        make(cameras=("door", "cellar"))
