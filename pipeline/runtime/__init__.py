"""What the processes of a run are made of: camera pipeline, worker, recorder, supervisor, figures, logs."""
