"""Parts of bench_reentry.py."""
