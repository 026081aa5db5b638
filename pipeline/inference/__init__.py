"""One process that computes for all cameras: frames in shared memory, requests over a private socket."""
