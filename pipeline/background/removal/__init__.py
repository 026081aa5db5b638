"""Cutting people out of a camera's video: masks carried between reference frames, and what is made of them."""
