"""Results with their pictures as a page that stands alone."""

from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from pipeline.background.files import write_bytes
from pipeline.search.results import Card, Section
from pipeline.view.colours import hex_colour, identity_colour, text_colour
from pipeline.view.thumbnails import data_uri
from pipeline.view.wording import clock_text

_ASKED_PX = (180, 300)  # width and height that pictures are fitted into, of the page
_SHOWN_PX = (120, 256)


def write_page(path: Path, title: str, sections: Sequence[Section], why: str | None = None) -> None:
    """Write one HTML file with everything in it; it runs no script and loads nothing.

    Raises:
        OutputError: it cannot be written.
    """
    environment = Environment(
        loader=PackageLoader("pipeline.search", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["clock"] = clock_text
    shown = [
        {
            "heading": section.heading,
            "remark": section.remark,
            "picture": None if section.picture is None else data_uri(section.picture, *_ASKED_PX),
            "cards": [_card_values(card) for card in section.cards],
        }
        for section in sections
    ]
    page = environment.get_template("search.html").render(title=title, sections=shown, why=why)
    write_bytes(path, page.encode("utf-8", errors="replace"))


def _card_values(card: Card) -> dict[str, object]:
    colour = identity_colour(card.identity_id)
    return {
        "label": card.label,
        "colour": hex_colour(colour),
        "text_colour": hex_colour(text_colour(colour)),
        "distance": card.distance,
        "note": card.note,
        "places": card.places,
        "more": card.more,
        "pictures": [(data_uri(image, *_SHOWN_PX), caption) for image, caption in card.pictures],
    }
