"""Other people's trackers on our clips: environments of their own, one runner, one scorer, one table."""
