"""Importing ultralytics without its log lines, network traffic, package installs and files in the home folder."""

import atexit
import importlib
import logging
import os
import shutil
import sys
import tempfile
from types import ModuleType

# Read by ultralytics once, at its import. Values that a user has set are left alone, except the three that guard
# against traffic and installs.
_GUARDS = {
    "YOLO_OFFLINE": "true",  # no look-ups, no usage statistics, no update check
    "YOLO_AUTOINSTALL": "false",  # a missing package is an error, not a pip run
    "YOLO_VERBOSE": "false",
}


def import_quietly(module: str) -> ModuleType:
    """Import `ultralytics` or one of its modules so that it neither talks nor fetches nor writes outside /tmp.

    Its settings go into a folder of this process that is removed at exit. PyTorch is imported first and
    OMP_NUM_THREADS put back, because ultralytics would set it to 1 for the whole process and its children.

    Raises:
        ImportError: ultralytics or PyTorch is not installed.
    """
    if "ultralytics" not in sys.modules:
        importlib.import_module("torch")
        os.environ.update(_GUARDS)
        if "YOLO_CONFIG_DIR" not in os.environ:
            folder = tempfile.mkdtemp(prefix="ultralytics-settings-")
            atexit.register(shutil.rmtree, folder, ignore_errors=True)
            os.environ["YOLO_CONFIG_DIR"] = folder
    threads = os.environ.get("OMP_NUM_THREADS")
    imported = importlib.import_module(module)
    if threads is None:
        os.environ.pop("OMP_NUM_THREADS", None)
    logging.getLogger("ultralytics").setLevel(logging.ERROR)
    return imported
