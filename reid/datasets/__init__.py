"""Person re-identification data sets: readers of their layouts, one common value."""
