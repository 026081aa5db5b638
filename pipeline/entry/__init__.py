"""The live run: its processes (`roles`), and who starts them (`site`)."""

from pipeline.entry.site import run_dashboard, run_matcher, run_site, run_worker

__all__ = ["run_dashboard", "run_matcher", "run_site", "run_worker"]
