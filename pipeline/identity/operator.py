"""An operator's orders: carried out at once, and certain evidence from then on."""

from pipeline.identity.ledger import Ledger
from pipeline.identity.memory import SiteMemory
from pipeline.types import Forget, Merge, Order, Rename, Split


def obey(order: Order, memory: SiteMemory, ledger: Ledger, now_s: float) -> None:
    """Carry one order out; one about an identity that is not (or no longer) known does nothing."""
    identity = memory.identities.get(order.identity_id)
    if identity is None:
        return
    if isinstance(order, Forget):
        ledger.forget(order.identity_id, now_s)
    elif isinstance(order, Rename):
        ledger.rename(identity, order.name, now_s)
    elif isinstance(order, Merge):
        _merge(order, memory, ledger, now_s)
    else:
        _split(order, memory, ledger, now_s)


def _merge(order: Merge, memory: SiteMemory, ledger: Ledger, now_s: float) -> None:
    """The tracks that are one person's by an operator's word are not looked at again."""
    gone, into = memory.identities[order.identity_id], memory.identities.get(order.into_id)
    if into is None or into is gone:
        return
    for track in [*memory.members(gone.identity_id), *memory.members(into.identity_id)]:
        track.fixed = True
        memory.touch_track(track)
    gone.apart.discard(into.identity_id)
    into.apart.discard(gone.identity_id)
    ledger.merge(gone, into, now_s, by="operator")


def _split(order: Split, memory: SiteMemory, ledger: Ledger, now_s: float) -> None:
    """Tracks go to somebody else, and the two are never made one again by the matcher."""
    identity = memory.identities[order.identity_id]
    known = [memory.tracks[key] for key in sorted(order.keys) if key in memory.tracks]
    tracks = [track for track in known if track.identity_id == identity.identity_id]
    other = memory.identities.get(order.to_id) if order.to_id is not None else None
    if not tracks or other is identity or (order.to_id is not None and other is None):
        return
    if other is not None and other.model_id != identity.model_id:  # nothing of the one can be compared with the other
        return
    for track in tracks:
        track.fixed = True
    to_id = ledger.part(tracks, order.to_id, now_s, by="operator")
    memory.identities[to_id].apart.add(identity.identity_id)
    memory.touch_identity(to_id)
    if identity.identity_id in memory.identities:
        identity.apart.add(to_id)
        memory.touch_identity(identity.identity_id)
