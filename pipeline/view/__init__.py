"""What people see: overlays, video files, a window and a web page."""
