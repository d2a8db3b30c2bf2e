"""One image of a segment table to its cut-out: what the edit job does, without Ray."""

from __future__ import annotations

import hashlib
import io
import unicodedata
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pycocotools import mask as coco_mask

from specray.errors import ErrorCode, ImageError, Stage, UserError, unforeseen
from specray.masks.matting.composite import composite, cutout, fitted
from specray.masks.matting.config import MattingConfig
from specray.masks.matting.matte import Matte, matte
from specray.pipelines.config import PictureFormat
from specray.pipelines.revisiting import decode_again
from specray.sources import Blob, Store, decode
from specray.tables.exports.names import ODD, Names
from specray.tables.rows import Row, error_row

FOLDER: Final = "cutouts/"

_WEBP_SIDE: Final = 16383
"""Pixels; more does not fit into its header."""

_WEBP_QUALITY: Final = 90


@dataclass(frozen=True)
class EditImage:
    """Cuts the object of an image out, and writes the picture.

    Parameters
    ----------
    output
        Where to.
    format
        Of the picture.
    background
        Transparent (None), a colour, or the bytes of an image file.
    max_pixels
        As it was when the images were segmented.
    matting
        Sizes.
    """

    output: Store
    format: PictureFormat
    background: tuple[int, int, int] | bytes | None
    max_pixels: int
    matting: MattingConfig = field(default_factory=MattingConfig)

    def __call__(self, place: Row, blob: Blob | ImageError) -> Row:
        """Edit an image; faults become ``error``.

        Parameters
        ----------
        place
            A row of `specray.pipelines.edit_places.PLACES`, without an error.
        blob
            The image as it is now.

        Returns
        -------
        What the place does not yet say of the row of the image.
        """
        try:
            return self._edited(place, blob)
        except ImageError as error:
            return {"error": error_row(ImageError(error.code, Stage.EDIT, error.message))}
        except UserError:
            raise
        except Exception as error:
            return {"error": error_row(unforeseen(error, Stage.EDIT))}

    def _edited(self, place: Row, blob: Blob | ImageError) -> Row:
        image = decode_again(place, blob, self.max_pixels).pixels
        mask = _mask(place)
        made = matte(image, mask, self.matting, place["cell"])
        data = self._encoded(made)
        file = cutout_name(place["key"], self.format)
        self.output.write(file, data)
        return {
            "file": file,
            "file_size": len(data),
            "coverage": float(made.alpha.mean(dtype=np.float64)),
            "matting_fallback": not made.converged,
        }

    def _encoded(self, made: Matte) -> bytes:
        if self.format == "webp" and max(made.alpha.shape) > _WEBP_SIDE:
            message = f"WebP has no more than {_WEBP_SIDE} pixels on a side; PNG has"
            raise _error(ErrorCode.TOO_MANY_PIXELS, message)
        if self.background is None:
            picture = cutout(made)
        elif isinstance(self.background, bytes):
            picture = composite(made, fitted(self._scenery, made.alpha.shape))
        else:
            picture = composite(made, np.array(self.background, dtype=np.uint8))
        buffer = io.BytesIO()
        Image.fromarray(picture).save(buffer, self.format, quality=_WEBP_QUALITY)
        return buffer.getvalue()

    @cached_property
    def _scenery(self) -> NDArray[np.uint8]:
        """The background image."""
        assert isinstance(self.background, bytes)
        return decode(self.background, max_pixels=self.max_pixels).pixels


def cutout_name(key: str, suffix: str) -> str:
    """Key of the picture of an image: a function of the image's key alone.

    So that whatever comes and goes beside it, its row stays as it is. Plain keys keep their path,
    suffix included, since ``b.jpg`` and ``b.png`` are two images; those that a file system might
    take for each other have a digest behind them.

    Examples
    --------
    >>> cutout_name("a/b.jpg", "png"), cutout_name("a/B.jpg", "png")
    ('cutouts/a/b.jpg.png', 'cutouts/a/B.jpg~e1b681e97f31951c.png')
    """
    stem = Names().stem(f"{key}.")  # the dot, so that the key's own suffix stays
    *folders, name = stem.split("/")
    tag = hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    if any(folder.lower().endswith(f".{suffix}") for folder in folders):  # like a file
        stem = f"{ODD}{name}~{tag}"
    elif stem != unicodedata.normalize("NFC", stem).casefold():
        stem = f"{stem}~{tag}"
    return f"{FOLDER}{stem}.{suffix}"


def _mask(place: Row) -> NDArray[np.bool_]:
    """The pixels of the objects of an image."""
    if not place["masks"]:
        raise _error(ErrorCode.NO_OBJECT, "no object was found in it")
    mask: NDArray[np.bool_] = coco_mask.decode(coco_mask.merge(place["masks"])) > 0
    if mask.all():
        raise _error(ErrorCode.NO_OBJECT, "its object is the whole image, background and all")
    return mask


def _error(code: ErrorCode, message: str) -> ImageError:
    return ImageError(code, Stage.EDIT, message)
