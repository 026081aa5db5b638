"""Fits a configuration to a site from its own footage: threshold, quality gates, transit times, clock offsets."""
