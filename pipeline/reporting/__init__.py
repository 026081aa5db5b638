"""Runs as pages for people: report, plots, and the comparison of several results."""
