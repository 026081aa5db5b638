"""A run as a process of its own: Ctrl-C, and what is left behind."""

import http.cookiejar
import json
import os
import signal
import urllib.request
from pathlib import Path

import cv2
import numpy as np
import psutil
from live_site import descendants, events_of, python, wait_until

from pipeline.config import Config

_RUN = """
import sys, json
from pathlib import Path
from pipeline.config import load_config
from pipeline.entry import run_site
def main():
    config = load_config(sys.argv[1])
    return run_site(config, Path(sys.argv[2]), display=sys.argv[3], duration_s=None, overlay=True,
                    log_level="INFO", echo=lambda line: print(line, flush=True))
if __name__ == "__main__":
    sys.exit(main())
"""


class Browser:
    """Opens the page once, with its token, and keeps the cookie."""

    def __init__(self, address: str) -> None:
        self._opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar()))
        self._base = address.partition("/?")[0]
        self._opener.open(address, timeout=5).close()

    def picture(self, camera_id: str) -> np.ndarray | None:
        with self._opener.open(f"{self._base}/api/preview/{camera_id}.jpg", timeout=5) as answer:
            jpeg = answer.read()
        return cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR) if jpeg else None

    def status(self) -> dict:
        with self._opener.open(f"{self._base}/api/status", timeout=5) as answer:
            return json.loads(answer.read())


def write_config(site: Config, folder: Path) -> Path:
    cameras = "".join(f"  - {{id: {c.id}, source: {c.source}}}\n" for c in site.cameras)
    text = f"site: lobby\ncameras:\n{cameras}detector: {{kind: hog}}\nreid: {{backbone: handcrafted}}\n"
    path = folder / "site.yaml"
    path.write_text(text + "view: {port: 0}\n")
    return path


def test_ctrl_c_leaves_complete_files_and_nothing_running(site: Config, tmp_path: Path) -> None:
    out_dir = tmp_path / "out"
    run = python(_RUN, str(write_config(site, tmp_path)), str(out_dir), "web")
    children = []
    try:
        wait_until(lambda: len(events_of(out_dir)) >= 1, 40, "the first identity")
        children = descendants(run.pid)
        assert len(children) >= 6
        address = next(line for line in run.stdout if line.startswith("web page:")).split()[-1]
        browser = Browser(address)
        wait_until(lambda: browser.picture("street") is not None, 10, "a preview of the street")
        assert browser.picture("street").shape == (360, 640, 3)
        status = browser.status()
        assert {c["id"]: c["state"] for c in status["cameras"]} == {"lobby": "LIVE", "street": "LIVE"}
        assert len(status["identities"]) >= 1
        os.killpg(run.pid, signal.SIGINT)  # as a terminal does: to the whole group
        _, errors = run.communicate(timeout=15)
    finally:
        if run.poll() is None:
            run.kill()
    assert run.returncode == 0, errors
    assert "Traceback" not in errors
    _, alive = psutil.wait_procs(children, timeout=2)
    assert not alive
    assert (out_dir / "report.html").exists()
    frames = json.loads((out_dir / "run.json").read_text())["frames"]
    assert 0 < frames["street"] <= 70
    assert (out_dir / "tracks" / "street.txt").read_text().count("\n") > 5
    assert (out_dir / "overlay" / "street.mp4").stat().st_size > 1000
    assert not list(out_dir.rglob("*.part*"))
