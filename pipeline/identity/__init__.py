"""One identity per person over all cameras and times of a site. Message times only, never the clock."""
