"""Recorded runs: ground truth, metrics, calibration and the report."""
