#!/bin/sh
# opencv-python needs libGL and glib from the system; say what to install before anything is downloaded.
missing=""
for library in libGL.so.1 libglib-2.0.so.0; do
  (ldconfig -p 2>/dev/null || /sbin/ldconfig -p) | grep -q "$library" || missing="$missing $library"
done
[ -z "$missing" ] && exit 0
echo "The system lacks:$missing (needed by opencv-python)."
echo "  Debian, Ubuntu:  sudo apt-get install libgl1 libglib2.0-0"
echo "  Fedora, RHEL:    sudo dnf install mesa-libGL glib2"
echo "  Alpine is not supported (no musl wheels of PyTorch)."
exit 1
