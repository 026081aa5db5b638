"""Recorded runs in one process: the stages in order of time, what is kept of a run, and starting from that."""
