"""Adapting a clip head, and where it pays the backbone, to a site from its own footage, without labels."""
