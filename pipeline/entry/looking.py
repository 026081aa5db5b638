"""The processes of those who look: the web page and the window."""

from collections.abc import Callable

import cv2

from pipeline.background.files import write_bytes
from pipeline.entry.shared import open_bus
from pipeline.errors import ConfigError, OutputError
from pipeline.runtime.children import DONE, ChildContext
from pipeline.runtime.plan import RunPlan
from pipeline.runtime.showing import SiteStatus, feed_page, feed_window


def serve_page(
    context: ChildContext,
    plan: RunPlan,
    warnings: tuple[str, ...],
    on_address: Callable[[str], None] | None = None,
) -> None:
    """The web page. Its address, with the token, lies in the run's private folder, or goes to `on_address`."""
    from pipeline.view.dashboard import Dashboard
    from pipeline.view.previews import PreviewHub

    cv2.setNumThreads(1)
    config = plan.config
    cameras = [camera.id for camera in config.cameras]
    hub = PreviewHub(cameras)
    status = SiteStatus(config.site, cameras, warnings)
    view = config.view
    page = Dashboard(view.host, view.port, plan.token, cameras, hub, status.status, insecure=view.insecure)
    try:
        page.start()
    except OutputError as error:
        raise ConfigError(str(error)) from None  # a taken port is not free a second later: the run must not begin
    try:
        if on_address is None:
            write_bytes(plan.folder / "page", page.url.encode())
        else:
            on_address(page.url)
        bus = open_bus(plan, context.name)
        context.ready()
        feed_page(bus, page, hub, status, stop=context.stop, beat=context.beat, fps=view.preview_fps)
        bus.close()
    finally:
        page.stop()


def show_window(context: ChildContext, plan: RunPlan) -> int:
    """The window; ends with 0 when the user closes it."""
    from pipeline.view.window import Window

    try:
        window = Window(plan.config.site)
    except OutputError as error:
        raise ConfigError(str(error)) from None
    cameras = [camera.id for camera in plan.config.cameras]
    bus = open_bus(plan, context.name)
    context.ready()
    with window:
        feed_window(bus, window, cameras, stop=context.stop, beat=context.beat, fps=plan.config.view.preview_fps)
    bus.close()
    return DONE
