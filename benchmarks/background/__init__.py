"""What bench_background.py measures with, on generated scenes whose masks and backgrounds are known exactly."""
