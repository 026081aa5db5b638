import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import chain

import numpy as np
import pytest
from inference_doubles import MeanDetector, StripeEncoder, foretold, frame_of

from pipeline.errors import InferenceUnavailable, OutputError
from pipeline.inference.client import InferenceClient, RemoteDetector, RemoteEncoder
from pipeline.inference.compute import Limits, Observer
from pipeline.inference.server import InferenceServer
from pipeline.inference.shared_frames import FrameRing
from pipeline.types import Frame


def wait_for(condition, limit_s=5.0):
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.005)


class Site:
    """A server and its clients, with shared memory in a folder of the test."""

    def __init__(self, folder):
        self.folder = folder
        self.socket_path = folder / "private" / "s"
        self.socket_path.parent.mkdir(mode=0o700)
        self.detector = MeanDetector()
        self.open = []
        self.stages = []

    def server(self, encoder=None, detector=None, **limits):
        server = InferenceServer(
            detector or self.detector,
            encoder or StripeEncoder(),
            self.socket_path,
            limits=Limits(**limits),
            observer=Observer(record=lambda stage, seconds: self.stages.append((stage, seconds))),
            frames_folder=self.folder,
        )
        server.start()
        self.open.append(server.stop)
        return server

    def client(self, camera_id="door", timeout_s=5.0, slots=4):
        ring = FrameRing("run", camera_id, folder=self.folder, slots=slots)
        client = InferenceClient(self.socket_path, ring, timeout_s=timeout_s)
        self.open += [ring.close, client.close]
        return client


@pytest.fixture
def site(tmp_path):
    site = Site(tmp_path)
    yield site
    site.detector.gate.set()
    for close in reversed(site.open):
        close()
    assert [p.name for p in tmp_path.iterdir()] == ["private"]
    assert list(site.socket_path.parent.iterdir()) == []


def same(found, expected):
    np.testing.assert_array_equal(found.xyxy, expected.xyxy)
    np.testing.assert_array_equal(found.confidence, expected.confidence)


def test_remote_detections_equal_local_ones_for_any_number_of_frames(site):
    site.server()
    detector = RemoteDetector(site.client(slots=2))
    assert detector.detect([]) == []
    frames = [frame_of(v, index=v) for v in (0, 1, 2, 3, 7)]
    for found, frame in zip(detector.detect(frames), frames, strict=True):
        same(found, foretold(frame))


def test_the_detector_sees_the_frame_it_was_given(site):
    class Keeper(MeanDetector):
        def detect(self, frames):
            self.seen = [(f.camera_id, f.epoch, f.index, f.captured_at_s, f.damaged) for f in frames]
            return super().detect(frames)

    keeper = Keeper()
    site.server(detector=keeper)
    image = np.zeros((20, 30, 3), np.uint8)
    site.client("hall").detect([Frame("hall", "e7", 12, 1753.123456789, image, damaged=True)])
    assert keeper.seen == [("hall", "e7", 12, 1753.123456789, True)]


def test_a_picture_of_another_size_is_served_as_well(site):
    site.server()
    client = site.client()
    for height_px, width_px in ((48, 64), (480, 640), (10, 10)):
        frame = frame_of(3, height_px=height_px, width_px=width_px)
        same(client.detect([frame])[0], foretold(frame))
    mixed = [frame_of(2, height_px=20, width_px=20), frame_of(3, height_px=600, width_px=800)]
    for found, frame in zip(client.detect(mixed), mixed, strict=True):
        same(found, foretold(frame))


def test_remote_crop_features_equal_local_ones_with_the_same_nesting(site):
    site.server()
    rng = np.random.default_rng(3)
    small = Frame("door", "e", 0, 5.25, rng.integers(0, 256, (40, 20, 3), np.uint8))
    large = Frame("door", "e", 1, 6.5, rng.integers(0, 256, (720, 1280, 3), np.uint8))
    larger = Frame("door", "e", 2, 7.5, rng.integers(0, 256, (800, 1280, 3), np.uint8))
    frames = [small, large, small, larger]
    one, two = np.array([[0, 0, 20, 40]], np.float32), np.array([[3, 4, 60, 90], [7, 8, 19, 30]], np.float32)
    boxes = [one, two, np.zeros((0, 4), np.float32), two]
    remote = RemoteEncoder(site.client()).encode(frames, boxes)
    local = StripeEncoder().encode(frames, boxes)
    assert [len(r) for r in remote] == [1, 2, 0, 2]
    for got, want in zip(chain(*remote), chain(*local), strict=True):
        np.testing.assert_array_equal(got.stripes, want.stripes)
        np.testing.assert_array_equal(got.energy, want.energy)
        assert (got.captured_at_s, got.model_id) == (want.captured_at_s, want.model_id)


def test_encoding_nothing_asks_nobody(site):
    server = site.server()
    encoder = RemoteEncoder(site.client())
    assert encoder.encode([], []) == []
    assert encoder.encode([frame_of(1)], [np.zeros((0, 4), np.float32)]) == [[]]
    assert "requests_encode" not in server.counters()
    with pytest.raises(ValueError, match="as many"):
        encoder.encode([frame_of(1)], [])


def test_many_crops_travel_in_several_messages(site, monkeypatch):
    monkeypatch.setattr("pipeline.inference.client.MESSAGE_BYTES", 20_000)
    server = site.server()
    frames = [frame_of(v, index=v) for v in range(7)]  # 9 KB each, two a message
    features = site.client().encode(frames, [np.array([[0, 0, 64, 48]], np.float32)] * 7)
    assert [f[0].stripes[0, 0] for f in features] == list(range(7))
    assert server.counters()["requests_encode"] == 4


def test_a_picture_that_was_just_detected_is_not_copied_again(site):
    site.server()
    client = site.client()
    frame = frame_of(9, height_px=600, width_px=800)
    client.detect([frame])
    puts = []
    put = client._ring.put
    client._ring.put = lambda image: puts.append(1) or put(image)
    assert client.encode([frame], [np.array([[0, 0, 20, 40]], np.float32)])[0][0].stripes[0, 0] == 9
    assert puts == []


def test_the_description_crosses_with_its_projection(site):
    site.server()
    got, want = RemoteEncoder(site.client()).describe(), StripeEncoder().describe()
    assert (got.model_id, got.stripes, got.channels, got.projection.relu) == (want.model_id, 4, 3, True)
    np.testing.assert_array_equal(got.projection.weight, want.projection.weight)
    np.testing.assert_array_equal(got.projection.bias, want.projection.bias)


def test_an_encoder_without_projection_describes_itself_so(site):
    class Plain(StripeEncoder):
        def describe(self):
            return type(super().describe())("plain", 4, 3, None)

    site.server(encoder=Plain())
    assert site.client().describe().projection is None


def test_requests_that_wait_at_the_same_moment_are_computed_together_and_answered_apart(site):
    server = site.server(pictures=3)
    clients = [site.client(f"camera{i}") for i in range(6)]
    site.detector.gate.clear()
    with ThreadPoolExecutor(6) as pool:
        first = pool.submit(clients[0].detect, [frame_of(1, "camera0")])
        site.detector.entered.wait(5)
        frames = [frame_of(i, f"camera{i}") for i in range(6)]
        others = [pool.submit(clients[i].detect, [frames[i]]) for i in range(1, 6)]
        wait_for(lambda: server.counters()["waiting"] == 5)
        site.detector.gate.set()
        same(first.result(5)[0], foretold(frame_of(1)))
        for i, other in enumerate(others, start=1):
            same(other.result(5)[0], foretold(frames[i]))
    assert sorted(map(len, site.detector.batches)) == [1, 2, 3]
    assert clients[5].last_timing["batch"] in (2.0, 3.0) and clients[5].last_timing["waited_s"] > 0
    stages = [s for s, _ in site.stages]
    assert stages.count("inference_wait") == 6 and stages.count("inference_detect") == 3


def test_many_clients_at_once_each_get_their_own_answers(site):
    server = site.server()

    def work(camera):
        client = site.client(f"camera{camera}")
        for step in range(30):
            frame = frame_of((camera * 30 + step) % 250, f"camera{camera}", step)
            same(client.detect([frame])[0], foretold(frame))
            features = client.encode([frame], [np.array([[0, 0, 9, 9]], np.float32)])
            assert features[0][0].stripes[0, 0] == frame.image[0, 0, 0]
        return camera

    with ThreadPoolExecutor(5) as pool:
        assert list(pool.map(work, range(5))) == list(range(5))
    counters = server.counters()
    assert (counters["pictures"], counters["crops"], counters["requests_detect"]) == (150, 150, 150)
    assert counters["batches_detect"] <= 150


def test_one_bad_picture_in_a_batch_fails_only_its_own_camera(site):
    server = site.server()
    clients = [site.client(f"camera{i}") for i in range(3)]
    site.detector.gate.clear()
    with ThreadPoolExecutor(3) as pool:
        pool.submit(clients[0].detect, [frame_of(1)])
        site.detector.entered.wait(5)
        good = pool.submit(clients[1].detect, [frame_of(2)])
        bad = pool.submit(clients[2].detect, [frame_of(255)])
        wait_for(lambda: server.counters()["waiting"] == 2)
        site.detector.gate.set()
        assert len(good.result(5)[0]) == 2
        with pytest.raises(InferenceUnavailable, match="poison"):
            bad.result(5)
    assert len(clients[2].detect([frame_of(3)])[0]) == 3, "the connection is still good"


def test_a_server_whose_model_fails_again_and_again_gives_up(site, monkeypatch):
    monkeypatch.setattr("pipeline.inference.compute.MAX_FAILURES", 3)
    server = InferenceServer(site.detector, StripeEncoder(), site.socket_path, frames_folder=site.folder)
    codes = []
    thread = threading.Thread(target=lambda: codes.append(server.run_until(threading.Event())))
    thread.start()
    client = site.client()
    client.wait_until_ready(5, threading.Event())
    for _ in range(3):
        with pytest.raises(InferenceUnavailable):
            client.detect([frame_of(255)])
    thread.join(5)
    assert codes == [1]


def test_a_server_that_is_asked_to_stop_returns_zero_and_removes_its_socket(site):
    server = InferenceServer(site.detector, StripeEncoder(), site.socket_path, frames_folder=site.folder)
    stop = threading.Event()
    codes = []
    thread = threading.Thread(target=lambda: codes.append(server.run_until(stop)))
    thread.start()
    wait_for(site.socket_path.exists)
    stop.set()
    thread.join(5)
    assert codes == [0] and not site.socket_path.exists()


def test_no_answer_in_time_is_unavailable_and_the_next_request_gets_its_own_answer(site):
    server = site.server()
    client = site.client(timeout_s=0.2)
    site.detector.gate.clear()
    with pytest.raises(InferenceUnavailable, match=r"0\.2 s"):
        client.detect([frame_of(1)])
    site.detector.gate.set()
    patient = InferenceClient(site.socket_path, client._ring, timeout_s=5)
    site.open.append(patient.close)
    same(patient.detect([frame_of(3)])[0], foretold(frame_of(3)))
    assert server.counters()["pictures"] == 2


def test_requests_of_a_worker_that_died_are_dropped_unseen(site):
    server = site.server()
    site.detector.gate.clear()
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(site.client("a").detect, [frame_of(1, "a")])
        site.detector.entered.wait(5)
        dying = site.client("b", timeout_s=0.1)
        with pytest.raises(InferenceUnavailable):
            dying.detect([frame_of(2, "b")])
        assert server.counters()["waiting"] == 1
        site.detector.gate.set()
        first.result(5)
    wait_for(lambda: server.counters().get("abandoned") == 1)
    assert site.detector.batches == [["a"]]
    wait_for(lambda: server.counters()["connections"] == 1)


def test_a_picture_that_was_overwritten_meanwhile_gives_no_result(site):
    server = site.server()
    client = site.client(slots=1)
    site.detector.gate.clear()
    with ThreadPoolExecutor(1) as pool:
        late = pool.submit(client.detect, [frame_of(1)])
        site.detector.entered.wait(5)
        client._ring.put(frame_of(2).image)
        site.detector.gate.set()
        with pytest.raises(InferenceUnavailable, match="overwritten"):
            late.result(5)
    assert server.counters()["stale"] == 1


def test_a_client_without_server_fails_at_once_and_works_when_it_comes(site):
    client = site.client()
    with pytest.raises(InferenceUnavailable, match="away"):
        client.detect([frame_of(1)])
    stopped = threading.Event()
    stopped.set()
    with pytest.raises(InferenceUnavailable):
        client.wait_until_ready(60, stopped)
    with pytest.raises(InferenceUnavailable):
        client.wait_until_ready(0.0, threading.Event())
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(client.wait_until_ready, 5, threading.Event())
        site.server()
        assert waiting.result(5).model_id == "stripes-1"
    assert len(client.detect([frame_of(1)])[0]) == 1


def test_a_client_goes_on_after_the_server_was_restarted(site):
    first = site.server()
    client = site.client()
    client.detect([frame_of(1)])
    first.stop()
    with pytest.raises(InferenceUnavailable, match="away"):
        client.detect([frame_of(2)])
    second = site.server()
    assert len(client.detect([frame_of(2)])[0]) == 2
    second.stop()
    site.server()
    assert len(client.detect([frame_of(3)])[0]) == 3, "restarted between two requests: nobody notices"


def test_a_server_that_came_back_with_another_model_is_refused(site):
    first = site.server()
    client = site.client()
    boxes = [np.array([[0, 0, 9, 9]], np.float32)]
    client.encode([frame_of(1)], boxes)
    first.stop()
    site.server(encoder=StripeEncoder("stripes-2"))
    with pytest.raises(InferenceUnavailable, match="stripes-2"):
        client.encode([frame_of(1)], boxes)


def test_stopping_answers_what_waits_and_leaves_nobody_hanging(site):
    server = site.server()
    site.detector.gate.clear()
    with ThreadPoolExecutor(2) as pool:
        computed = pool.submit(site.client("a").detect, [frame_of(1)])
        site.detector.entered.wait(5)
        waiting = pool.submit(site.client("b").detect, [frame_of(2)])
        wait_for(lambda: server.counters()["waiting"] == 1)
        stopper = threading.Thread(target=server.stop)
        stopper.start()
        with pytest.raises(InferenceUnavailable, match="stopping"):
            waiting.result(5)
        site.detector.gate.set()
        assert len(computed.result(5)[0]) == 1
        stopper.join(5)
    assert not site.socket_path.exists()


def test_two_servers_on_one_socket_are_refused_but_a_dead_ones_socket_is_replaced(site):
    site.server()
    with pytest.raises(OutputError, match="another inference process"):
        site.server()
    other = Site(site.folder / "private")
    other.socket_path.touch()
    other.server().stop()
    other.socket_path.parent.rmdir()


def test_garbage_on_the_socket_ends_that_connection_only(site):
    import socket

    server = site.server()
    with socket.socket(socket.AF_UNIX) as rude:
        rude.connect(str(site.socket_path))
        rude.sendall(b"GET / HTTP/1.1\r\n\r\n")
        wait_for(lambda: server.counters().get("connections_lost") == 1)
    assert len(site.client().detect([frame_of(3)])[0]) == 3


@pytest.mark.parametrize(
    "head",
    [
        {"kind": "dance"},
        {"kind": "detect"},
        {"kind": "detect", "frames": [{}]},
        {"kind": "detect", "frames": 3},
        {
            "kind": "detect",
            "frames": [
                {
                    "camera_id": "a",
                    "epoch": "e",
                    "index": 0,
                    "captured_at_s": 0.0,
                    "damaged": False,
                    "slot": ["mcp_/", 1],
                }
            ],
        },
    ],
)
def test_a_request_that_makes_no_sense_is_answered_with_an_error(site, head):
    site.server()
    client = site.client()
    with pytest.raises(InferenceUnavailable, match="request"):
        client._ask(head, [])
    assert client.describe().model_id == "stripes-1"


def test_the_workers_side_imports_no_machine_learning_library():
    code = (
        "import sys, numpy, cv2, pipeline.inference.client, pipeline.inference.shared_frames;"
        "print([m for m in ('torch', 'torchvision', 'ultralytics', 'openvino', 'onnxruntime') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.stdout.strip(), done.stderr) == ("[]", "")
