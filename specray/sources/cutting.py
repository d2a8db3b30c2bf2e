"""Cutting a listing into shards where its keys say, so that most of them outlive a change."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from specray.seeds import derive_seed
from specray.sources.stores import Entry


def cut(entries: Iterable[Entry], shard_size: int) -> Iterator[list[Entry]]:
    """Cut sorted entries into shards of at most `shard_size`, as they stream in.

    Counting off equal shards would move every cut behind a new key, and all that work would have
    to be done again. Here a cut follows from the keys around it (content-defined chunking): in the
    second half of the room that a shard has, the key of the smallest hash begins the next one. So
    a new or removed key changes the shard it falls into, now and then the next. Only the last
    shard has fewer than half of `shard_size` entries; the mean is about three quarters.

    Parameters
    ----------
    entries
        Sorted by key, each once.
    shard_size
        Most entries of a shard, at least 1.

    References
    ----------
    A. Muthitacharoen, B. Chen, D. Mazieres, "A low-bandwidth network file system", SOSP 2001,
    section 3.1, for the idea of boundaries that are set by content.
    """
    room: list[Entry] = []
    for entry in entries:
        room.append(entry)
        if len(room) > shard_size:
            places = range((shard_size + 1) // 2, shard_size + 1)
            place = min(places, key=lambda i: derive_seed(0, room[i].key))
            yield room[:place]
            room = room[place:]
    if room:
        yield room
