"""What the children of the supervisor's tests do. Imported by spawned processes."""

import os
import sys
import threading
import time
from pathlib import Path

from pipeline.errors import BusRefused, ConfigError, SourceLost
from pipeline.runtime import children


def note(folder, context, text=""):
    """A line in the file of this child's name."""
    with (Path(folder) / context.name).open("a") as file:
        file.write(f"{os.getpid()} {time.monotonic()} {text}\n")


def beat_until_stopped(context, folder):
    note(folder, context, "start")
    context.ready()
    while not context.stop.wait(0.02):
        context.beat()
    note(folder, context, "stop")


def slow_to_be_ready(context, folder):
    time.sleep(0.3)
    beat_until_stopped(context, folder)


def never_ready(context, folder):
    note(folder, context, "start")
    context.stop.wait(60)


def deaf(context, folder):
    """Never looks at `stop`, but beats."""
    note(folder, context, "start")
    context.ready()
    while True:
        context.beat()
        time.sleep(0.02)


def end(context, folder, code=None):
    note(folder, context, "start")
    context.ready()
    return code


def end_but_leave_a_thread(context, folder):
    note(folder, context, "start")
    context.ready()
    children.LINGER_S = 0.3
    threading.Thread(target=time.sleep, args=(60,)).start()


def bad_config(context, folder):
    raise ConfigError("site.yaml:3: unknown key 'kamera'")


def wrong_password(context, folder):
    raise BusRefused("redis://user:hunter2@host refused the password")


def lost(context, folder):
    note(folder, context, "start")
    raise SourceLost("rtsp://admin:hunter2@10.0.0.5/stream ended")


def surprise(context, folder):
    raise RuntimeError("one line\nand another")


def supervise(folder):
    """The main function of a supervisor that a test kills."""
    from pipeline.config import RuntimeConfig
    from pipeline.runtime import supervisor

    supervisor.GROUP_STOP_S = 1.0
    specs = [
        children.ChildSpec("polite", beat_until_stopped, (folder,)),
        children.ChildSpec("deaf", deaf, (folder,), role="matcher"),
    ]
    return supervisor.Supervisor(specs, config=RuntimeConfig(), log_level="WARNING").run()


if __name__ == "__main__":
    sys.exit(supervise(sys.argv[1]))
