"""Distances that need more of two people than one vector each; for putting the nearest few into a new order."""
