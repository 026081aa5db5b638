"""Backbones and clip heads: crops in, clip features out (`pipeline.ports.CropEncoder`, `ClipHead`)."""
