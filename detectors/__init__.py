"""Person detectors: one file each, all behind `pipeline.ports.Detector`."""
