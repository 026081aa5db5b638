"""Pictures for people and for background removal: kept frames, plates, masks, references, crops, erasure."""
