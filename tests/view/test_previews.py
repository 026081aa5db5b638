import threading

import pytest

from pipeline.view.previews import SNAPSHOT_LEASE_S, PreviewHub


class Clock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def test_only_the_newest_picture_is_kept() -> None:
    hub = PreviewHub(["door"])
    viewer = hub.join("door", lambda: None)
    assert hub.newest("door") is None
    hub.publish("door", b"one")
    hub.publish("door", b"two")
    newest = hub.newest("door")
    assert newest is not None and (newest.number, newest.jpeg) == (2, b"two")
    assert hub.newest("door", after=2) is None
    hub.leave("door", viewer)


def test_a_camera_is_wanted_while_somebody_watches() -> None:
    hub = PreviewHub(["door", "hall"])
    assert not hub.wanted("door") and not hub.wanted("nowhere")
    one, two = hub.join("door", lambda: None), hub.join("door", lambda: None)
    hub.leave("door", one)
    assert hub.wanted("door") and not hub.wanted("hall")
    hub.leave("door", two)
    hub.leave("door", two)
    assert not hub.wanted("door")


def test_a_snapshot_makes_the_camera_wanted_for_a_few_seconds() -> None:
    clock = Clock()
    hub = PreviewHub(["door"], clock)
    hub.publish("door", b"old")
    assert hub.snapshot("door") is None  # nobody watched: it could be hours old
    assert hub.wanted("door")
    hub.publish("door", b"new")
    snapshot = hub.snapshot("door")
    assert snapshot is not None and snapshot.jpeg == b"new"
    clock.now_s += SNAPSHOT_LEASE_S
    assert not hub.wanted("door")


def test_a_first_viewer_does_not_get_a_picture_from_before() -> None:
    hub = PreviewHub(["door"])
    hub.publish("door", b"old")
    viewer = hub.join("door", lambda: None)
    assert hub.newest("door") is None
    hub.leave("door", viewer)


def test_every_viewer_is_woken_and_the_others_cameras_are_not() -> None:
    hub = PreviewHub(["door", "hall"])
    woken: list[str] = []
    hub.join("door", lambda: woken.append("a"))
    hub.join("door", lambda: woken.append("b"))
    hub.join("hall", lambda: woken.append("c"))
    hub.publish("door", b"x")
    assert woken == ["a", "b"]
    hub.wake_all()
    assert sorted(woken[2:]) == ["a", "b", "c"]


def test_an_unknown_camera_is_an_error() -> None:
    hub = PreviewHub(["door"])
    for call in (
        lambda: hub.publish("x", b""),
        lambda: hub.newest("x"),
        lambda: hub.snapshot("x"),
        lambda: hub.join("x", print),
    ):
        with pytest.raises(KeyError):
            call()


def test_many_publishers_and_viewers_at_once_lose_no_number() -> None:
    hub = PreviewHub(["door"])
    hub.join("door", lambda: None)
    threads = [threading.Thread(target=lambda: [hub.publish("door", b"x") for _ in range(500)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    newest = hub.newest("door")
    assert newest is not None and newest.number == 2000
