"""The roles of a site as programs of their own, meeting in one Redis."""

import signal
from pathlib import Path

import pytest
from live_site import events_of, python, wait_until

from pipeline.bus.redis_streams import RedisBus
from pipeline.bus.server import EmbeddedServer
from pipeline.config import Config
from pipeline.types import CameraState

_ROLE = """
import sys
from pathlib import Path
from pipeline.config import load_config
from pipeline import entry
def main():
    config = load_config(sys.argv[2])
    if sys.argv[1] == "matcher":
        return entry.run_matcher(config, log_level="INFO")
    return entry.run_worker(config, Path(sys.argv[3]), log_level="INFO")
if __name__ == "__main__":
    sys.exit(main())
"""


def write_config(site: Config, folder: Path, url: str) -> Path:
    cameras = "".join(f"  - {{id: {c.id}, source: {c.source}}}\n" for c in site.cameras)
    text = f"site: lobby\ncameras:\n{cameras}detector: {{kind: hog}}\nreid: {{backbone: handcrafted}}\n"
    path = folder / "site.yaml"
    path.write_text(text + f'bus: {{url: "{url}"}}\n')
    return path


@pytest.mark.slow
def test_workers_and_a_matcher_that_were_started_alone_make_one_site(site: Config, tmp_path: Path) -> None:
    out_dir = tmp_path / "out"
    with EmbeddedServer() as server:
        config = write_config(site, tmp_path, server.url)
        matcher = python(_ROLE, "matcher", str(config))
        worker = python(_ROLE, "worker", str(config), str(out_dir))
        second = None
        try:
            wait_until(lambda: len(events_of(out_dir)) >= 1, 60, "the first identity")
            second = python(_ROLE, "matcher", str(config))
            _, errors = worker.communicate(timeout=60)
            assert worker.returncode == 0, errors
            bus = RedisBus(server.url, "lobby")
            ends = [d.message for d in bus.read("clips", "0", 0.0, 10_000) if isinstance(d.message, CameraState)]
            bus.close()
            assert {(m.camera_id, m.status) for m in ends} == {("lobby", "end"), ("street", "end")}
            _, errors = second.communicate(timeout=40)
            assert second.returncode == 2
            assert "already has a matcher" in errors and "Traceback" not in errors
            matcher.send_signal(signal.SIGTERM)
            _, errors = matcher.communicate(timeout=10)
            assert matcher.returncode == 0, errors
            assert "Traceback" not in errors
        finally:
            for process in (matcher, worker, second):
                if process is not None and process.poll() is None:
                    process.kill()
                    process.communicate()
    assert (out_dir / "report.html").exists() and (out_dir / "tracks" / "street.txt").read_text()


def test_a_role_alone_needs_a_redis_to_meet_in(site: Config, capfd: pytest.CaptureFixture[str]) -> None:
    from pipeline.entry import run_dashboard, run_matcher, run_worker

    assert run_matcher(site, log_level="WARNING") == 2
    assert run_worker(site, None, log_level="WARNING") == 2
    assert run_dashboard(site, log_level="WARNING", echo=print) == 2
    assert capfd.readouterr().err.count("error: bus.url is missing") == 3
