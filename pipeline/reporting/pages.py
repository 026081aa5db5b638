"""Pages that stand alone: fills a template, writes it whole."""

from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from pipeline.errors import OutputError
from pipeline.reporting.values import figure_text
from pipeline.view.wording import clock_text, duration_text


def render_page(template: str, **values: Any) -> str:
    """The page as text. Every value is escaped; the page runs no script and loads nothing."""
    environment = Environment(
        loader=PackageLoader("pipeline.reporting", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(clock=clock_text, duration=duration_text, figure=figure_text)
    return environment.get_template(template).render(**values)


def write_page(target: Path, template: str, **values: Any) -> Path:
    """Write a page and give its path; an older one is replaced whole.

    Raises:
        OutputError: it cannot be written.
    """
    page = render_page(template, **values)
    partial = target.with_name(f".{target.name}.partial")
    try:
        # letters that no file can hold (half a surrogate pair, in a damaged name) are written as question marks
        partial.write_bytes(page.encode("utf-8", errors="replace"))
        partial.replace(target)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise OutputError(f"cannot write {target}: {error.strerror}; free some space or check the folder") from None
    return target
