"""The stage after an accelerator: spectra to masks, in tasks on CPUs that it never waits for.

On a CPU the actor makes the masks itself: its core would only change places with the task's. An
accelerator hands over what masks are made of: the pixels, 20 KB of eigenvectors an image, and for
instances its features.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import pyarrow as pa
import ray
import torch

from specray.errors import Stage
from specray.pipelines.blocks import SEGMENTED, images_of
from specray.pipelines.decoding import crashed
from specray.pipelines.engine import failure
from specray.pipelines.isolation import SUSPICIOUS, Died, deadline, each_alone
from specray.pipelines.masking import Masking, Spectra
from specray.pipelines.preparing import Prepared
from specray.tables.rows import Row, error_row

Spectrum = tuple[Prepared, Row]
Make = Callable[[Prepared, Row], Row]


@dataclass(frozen=True)
class MakeMasks:
    """A block of `SPECTRA` to one of `SEGMENTED`."""

    masking: Masking
    tally: Any

    def __call__(self, spectra: pa.Table) -> pa.Table:
        """Make the masks of what has a spectrum; errors and unused places pass through."""
        keys = spectra["key"].drop_null()
        if not len(keys):
            return masked_block(spectra, self.masking)
        torch.set_num_threads(1)
        first = keys[0].as_py()
        deaths = ray.get(self.tally.begin.remote("masks", first, len(keys)))
        table = masked_block(spectra, self.masking, alone=deaths >= SUSPICIOUS)
        self.tally.end.remote("masks", first)
        return table


def masked_block(spectra: pa.Table, masking: Masking, *, alone: bool = False) -> pa.Table:
    """The rows of a block of `SPECTRA`; `alone`: each image in a process that it may end."""
    return finished_block(spectra, partial(make_masks, masking), SEGMENTED, alone=alone)


def finished_block(spectra: pa.Table, make: Make, schema: pa.Schema, *, alone: bool) -> pa.Table:
    """The rows of a block of `SPECTRA`.

    Parameters
    ----------
    spectra
        Of an engine that hands over.
    make
        What to add to the row of an image, from the image and what the engine said of it.
    schema
        Of the rows.
    alone
        Each image in a process that it may end.
    """
    images = {i: image for i, image in images_of(spectra) if spectra["vectors"][i].is_valid}
    # features never become Python's numbers, of which they are too many
    rows = spectra.select([name for name in SEGMENTED.names if name != "features"]).to_pylist()
    items = [(image, _spectrum(spectra, i)) for i, image in images.items()]
    for i, made in zip(images, _made(make, items, alone), strict=True):
        rows[i] |= made
    return pa.Table.from_pylist(rows, schema=schema)


def make_masks(masking: Masking, image: Prepared, spectrum: Row) -> Row:
    """The masks of one image, or its error.

    Parameters
    ----------
    masking
        What to make.
    image
        The image.
    spectrum
        A row of an engine without masks: ``grid_h``, ``grid_w``, ``eigenvalues``, ``vectors``,
        ``features``, which are kept if they are to be.

    Returns
    -------
    What to add to the row.
    """
    try:
        (row,) = masking([image], _spectra(spectrum))
        if "features" in masking.config.keep:
            row["features"] = spectrum["features"]
        return row
    except Exception as error:
        return _NOTHING | {"error": error_row(failure(error))}


def _spectrum(spectra: pa.Table, i: int) -> Row:
    found = {name: spectra[name][i].as_py() for name in ("grid_h", "grid_w", "feature_scale")}
    for name in ("eigenvalues", "vectors", "features"):
        found[name] = spectra[name][i].values.to_numpy() if spectra[name][i].is_valid else None
    return found


def _spectra(row: Row) -> Spectra:
    """Of the one image of a row of `SPECTRA`."""
    grid = (row["grid_h"], row["grid_w"])
    patches = grid[0] * grid[1]
    vectors = torch.from_numpy(row["vectors"].copy()).reshape(1, -1, patches)
    values = torch.empty(0)
    if row.get("eigenvalues") is not None:  # a pass without spectra has none
        values = torch.from_numpy(row["eigenvalues"].copy())
    features = row["features"]
    if features is not None:
        features = torch.from_numpy(features.copy()).reshape(1, patches, -1)
    return Spectra(grid, values[None], vectors, features)


def _made(make: Make, items: list[Spectrum], alone: bool) -> Iterator[Row]:
    if not alone:
        for item in items:
            with deadline():
                yield make(*item)
        return
    single: Callable[[], Callable[[Spectrum], Row]] = partial(partial, partial(_apply, make))
    for (image, _), result in zip(items, each_alone(single, items), strict=True):
        if isinstance(result, Died):
            result = _NOTHING | crashed(image.key, Stage.SEGMENT, result)
        yield result


def _apply(make: Make, item: Spectrum) -> Row:
    return make(*item)


_NOTHING: Final[Row] = dict.fromkeys(
    (
        *("grid_h", "grid_w", "eigenvalues", "eigenvectors"),
        *("features", "feature_scale", "views"),
        *("dense_fallback", "primaps_capped", "segments"),
    )
)
"""What an error row of this stage has of a spectrum."""
