"""Ground truth and figures: rows in, metrics out. Knows nothing of how the rows came about."""
