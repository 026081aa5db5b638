"""A run as a process of its own: Ctrl-C, and what is left behind."""

import json
import os
import re
import signal
from pathlib import Path

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
        os.killpg(run.pid, signal.SIGINT)  # as a terminal does: to the whole group
        output, errors = run.communicate(timeout=15)
    finally:
        if run.poll() is None:
            run.kill()
    assert run.returncode == 0, errors
    assert "Traceback" not in errors
    assert re.search(r"http://127.0.0.1:\d+/\?token=", output)
    _, alive = psutil.wait_procs(children, timeout=2)
    assert not alive
    assert (out_dir / "report.html").exists()
    frames = json.loads((out_dir / "run.json").read_text())["frames"]
    assert 0 < frames["street"] <= 70
    assert (out_dir / "tracks" / "street.txt").read_text().count("\n") > 5
    assert (out_dir / "overlay" / "street.mp4").stat().st_size > 1000
    assert not list(out_dir.rglob("*.part*"))
