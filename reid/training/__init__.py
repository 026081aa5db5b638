"""Trains backbones and heads on data sets of people who are known: `run_pipeline.py train`."""
