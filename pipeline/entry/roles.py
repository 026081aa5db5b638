"""Where spawned children begin. Each imports what it needs only then: a matcher has no use for a video decoder."""

from collections.abc import Callable

from pipeline.runtime.children import ChildContext
from pipeline.runtime.plan import RunPlan


def serve_inference(context: ChildContext, plan: RunPlan) -> int:
    """The inference process."""
    from pipeline.entry.inference import serve_inference

    return serve_inference(context, plan)


def work_cameras(context: ChildContext, plan: RunPlan, camera_ids: tuple[str, ...]) -> None:
    """A worker process, for these cameras."""
    from pipeline.entry.cameras import work_cameras

    work_cameras(context, plan, camera_ids)


def match(context: ChildContext, plan: RunPlan) -> None:
    """The matcher process."""
    from pipeline.entry.matching import match

    match(context, plan)


def record(context: ChildContext, plan: RunPlan) -> None:
    """The recorder process."""
    from pipeline.entry.recording import record

    record(context, plan)


def serve_page(
    context: ChildContext, plan: RunPlan, warnings: tuple[str, ...], on_address: Callable[[str], None] | None = None
) -> None:
    """The web page's process."""
    from pipeline.entry.looking import serve_page

    serve_page(context, plan, warnings, on_address)


def show_window(context: ChildContext, plan: RunPlan) -> int:
    """The window's process."""
    from pipeline.entry.looking import show_window

    return show_window(context, plan)
