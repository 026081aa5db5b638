"""Traffic of a large site, made up on the level of features, and what it costs the matcher."""
