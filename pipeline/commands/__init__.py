"""One file per command of `run_pipeline.py` that is more than starting processes."""
