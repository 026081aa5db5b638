"""What a search found, put together once for the terminal, JSON, the page and the contact sheet."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.search.history import History, Visit
from pipeline.search.pictures import Pictures
from pipeline.search.ranking import FoundPerson, Ranking
from pipeline.search.why import track_name
from pipeline.types import ImageArray, TrackKey
from pipeline.view.wording import clock_text, duration_text, event_text, identity_label

SCHEMA = 1  # of the JSON file
_MOST_PICTURES = 8  # of one person
_MOST_ROWS = 12  # tracks of one person that are listed


@dataclass(frozen=True, slots=True)
class Place:
    """A row of "where and when".

    Attributes:
        distance: of the track to whom was asked for; None where nobody was compared.
        how: how the person came there.
    """

    keys: tuple[TrackKey, ...]
    start_s: float
    end_s: float
    distance: float | None = None
    how: str = ""

    @property
    def camera_id(self) -> str:
        return self.keys[0].camera_id


@dataclass(frozen=True, eq=False, slots=True)
class Card:
    """One person of a result.

    Attributes:
        identity_id: 0 for a track that was never identified.
        distance, reranked: see `ranking.FoundPerson`; None for the person that was asked for by number.
        note: a sentence about the distance.
        places: where and when; `more` rows were left out.
        pictures: with a caption each.
    """

    identity_id: int
    name: str | None
    distance: float | None
    reranked: float | None
    note: str
    places: tuple[Place, ...]
    more: int
    pictures: tuple[tuple[ImageArray, str], ...]

    @property
    def label(self) -> str:
        if self.identity_id:
            return identity_label(self.identity_id, self.name)
        key = self.places[0].keys[0]
        return f"no identity ({key.camera_id}, {track_name(key)})"


@dataclass(frozen=True, eq=False, slots=True)
class Section:
    """One question and its answer; `picture` is of whom was asked for, `remark` a sentence on how to read it."""

    heading: str
    picture: ImageArray | None
    cards: tuple[Card, ...]
    remark: str = ""


def found_section(
    heading: str,
    picture: ImageArray | None,
    ranking: Ranking,
    history: History,
    pictures: Pictures,
    *,
    top: int,
    threshold: float | None,
    same_as: int = 0,
) -> Section:
    """The nearest people.

    Args:
        threshold: the matcher's, where the model has one.
        same_as: the identity that was asked for: who was seen beside it is somebody else.
    """
    cards = []
    for person in ranking.people[:top]:
        note = _note(person, history, threshold, same_as)
        cards.append(_found_card(person, note, history, pictures))
    return Section(heading, picture, tuple(cards), _remark(ranking, len(cards)))


def _remark(ranking: Ranking, shown: int) -> str:
    if not ranking.searched:
        return "no stored clip passes the filters"
    people = "1 person" if len(ranking.people) == 1 else f"{len(ranking.people)} people"
    text = f"{_count(ranking.searched, 'clip')} compared; {shown} of {people} shown"
    if ranking.complete_to is not None:
        text += f"; of others every clip is farther than {ranking.complete_to:.3f}"
    return text


def _note(person: FoundPerson, history: History, threshold: float | None, same_as: int) -> str:
    if same_as and person.identity_id:
        camera_id = history.together(same_as, person.identity_id)
        if camera_id is not None:
            return f"somebody else: both were in {camera_id} at the same time"
    if threshold is None:
        return ""
    return "within the matcher's threshold" if person.distance <= threshold else ""


def _found_card(person: FoundPerson, note: str, history: History, pictures: Pictures) -> Card:
    places, shown = [], []
    for track in person.tracks:
        span = history.span(track.key)
        places.append(Place((track.key,), span.start_s, span.end_s, track.distance))
        shown.append((track.key, f"{track.key.camera_id} {clock_text(span.start_s, 0)}"))
    name = history.book.name_of(person.identity_id) if person.identity_id else None
    return Card(
        person.identity_id,
        name,
        person.distance,
        person.reranked,
        note,
        tuple(places[:_MOST_ROWS]),
        max(0, len(places) - _MOST_ROWS),
        _shown(shown, pictures),
    )


def identity_section(identity_id: int, history: History, pictures: Pictures) -> Section:
    """All places and times of one identity."""
    visits = history.visits_of(identity_id)
    places = tuple(Place(v.tracks, v.span.start_s, v.span.end_s, how=_how(v, identity_id)) for v in visits)
    wanted = [(k, f"{k.camera_id} {clock_text(history.span(k).start_s, 0)}") for v in visits for k in v.tracks]
    name = history.book.name_of(identity_id)
    merged = sorted(history.book.ids_of(identity_id) - {identity_id})
    note = f"merged into it: {', '.join(f'#{i}' for i in merged)}" if merged else ""
    card = Card(identity_id, name, None, None, note, places, 0, _shown(wanted, pictures))
    cameras = len({v.camera_id for v in visits})
    heading = f"Where {identity_label(identity_id, name)} was seen"
    return Section(heading, None, (card,), f"{_count(len(visits), 'visit')} in {_count(cameras, 'camera')}")


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}" + ("" if number == 1 else "s")


def _how(visit: Visit, identity_id: int) -> str:
    event = visit.how
    if event is None:
        return ""
    words = event_text(event.kind, visit.camera_id, event.absent_s, event.via, event.other_identity_id, event.name)
    return words if event.identity_id == identity_id else f"{words}, as #{event.identity_id} then"


def _shown(wanted: Sequence[tuple[TrackKey, str]], pictures: Pictures) -> tuple[tuple[ImageArray, str], ...]:
    found = []
    for key, caption in wanted:
        image = pictures.of_track(key)
        if image is not None:
            found.append((image, caption))
        if len(found) == _MOST_PICTURES:
            break
    return tuple(found)


# -- as text and as JSON ----------------------------------------------------------------------------------------------


def section_text(section: Section) -> str:
    """For the terminal."""
    return "\n".join(_lines(section))


def _lines(section: Section) -> Iterator[str]:
    yield section.heading
    for number, card in enumerate(section.cards, start=1):
        if card.distance is not None:
            note = f"   {card.note}" if card.note else ""
            yield f"{number:3}. {card.label}   distance {card.distance:.3f}{note}"
        elif card.note:
            yield f"     {card.note}"
        width = max((len(place.camera_id) for place in card.places), default=0)
        for place in card.places:
            yield f"       {_place_text(place, width)}"
        if card.more:
            yield f"       and {card.more} tracks more"
    yield f"     {section.remark}"


def _place_text(place: Place, width: int) -> str:
    seconds = duration_text(place.end_s - place.start_s)
    when = f"{clock_text(place.start_s)} to {clock_text(place.end_s)} ({seconds})"
    tail = f"{place.distance:.3f}" if place.distance is not None else place.how
    return f"{place.camera_id:{width}}  {when}  {tail}".rstrip()


def as_json(sections: Sequence[Section], asked: dict[str, Any], why: str | None = None) -> dict[str, Any]:
    """Everything but the pictures, fit for `json.dumps`."""
    answers = [
        {"heading": section.heading, "remark": section.remark, "people": [_card_json(card) for card in section.cards]}
        for section in sections
    ]
    return {"schema": SCHEMA, "asked": asked, "sections": answers, "why": why}


def _card_json(card: Card) -> dict[str, Any]:
    return {
        "identity_id": card.identity_id,
        "name": card.name,
        "distance": _rounded(card.distance),
        "reranked": _rounded(card.reranked),
        "note": card.note,
        "places": [
            {
                "camera_id": place.camera_id,
                "tracks": [{"epoch": key.epoch, "track_id": key.track_id} for key in place.keys],
                "start_s": round(place.start_s, 6),
                "end_s": round(place.end_s, 6),
                "distance": _rounded(place.distance),
                "how": place.how,
            }
            for place in card.places
        ],
        "places_left_out": card.more,
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
