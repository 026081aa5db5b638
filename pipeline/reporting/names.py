"""What the people on the page are called."""

from collections.abc import Iterable

from pipeline.reporting.report_inputs import Event


def names_of(events: Iterable[Event]) -> dict[int, str]:
    """Identity → its name at the end; a merged identity's goes to the one that lives on, where that has none."""
    names: dict[int, str] = {}
    merged: dict[int, int] = {}

    def living(identity_id: int) -> int:
        while identity_id in merged:
            identity_id = merged[identity_id]
        return identity_id

    for event in events:
        identity_id = living(event.identity_id)
        if event.kind == "merged" and event.other_identity_id is not None:
            into_id = living(event.other_identity_id)
            if into_id != identity_id:
                merged[identity_id] = into_id
                name = names.pop(identity_id, None)
                if name:
                    names.setdefault(into_id, name)
        elif event.kind == "forgotten" or (event.kind == "renamed" and not event.name):
            names.pop(identity_id, None)
        elif event.name:
            names[identity_id] = event.name
    return names | {gone: names[living(gone)] for gone in merged if living(gone) in names}
