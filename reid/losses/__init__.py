"""Losses of re-identification, one interface: (features, labels) -> scalar. `make.make_loss` makes them by name."""
