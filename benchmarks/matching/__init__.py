"""What bench_matching.py is made of: footage, recordings, tracks, baselines, decision rates, tables."""
