"""A data set as the Hugging Face hub holds them: Parquet with the photographs in it."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, ClassVar, Final

import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from pycocotools import mask as coco_mask

from specray.errors import ErrorCode, ImageError
from specray.sources import Store
from specray.tables.exports.annotations import AnnotatedImage, Annotation, Skipped
from specray.tables.exports.categories import Category
from specray.tables.exports.flat import part_name
from specray.tables.exports.index import too_many
from specray.tables.exports.labels import label_map
from specray.tables.exports.names import plain_stem
from specray.tables.exports.output import Document, File, Place
from specray.tables.exports.png import MAX_GREY_LABEL, MAX_PALETTE_LABEL, grey_png, palette_png
from specray.tables.rows import Row

_IMAGE: Final = pa.struct([("bytes", pa.binary()), ("path", pa.string())])

_OBJECT: Final = pa.struct(
    [
        ("id", pa.int64()),
        ("category", pa.int64()),
        ("index", pa.int32()),
        ("score", pa.float32()),
        ("bbox", pa.list_(pa.float32(), 4)),
        ("area", pa.int64()),
        ("rle_counts", pa.string()),
    ]
)

_COLUMNS: Final = (
    ("image", _IMAGE),
    ("key", pa.string()),
    ("width", pa.int32()),
    ("height", pa.int32()),
    ("label_map", _IMAGE),
    ("objects", pa.list_(_OBJECT)),
)

_ROW_GROUP: Final = 64
"""Images; the viewer of the hub reads one row group at a time."""

_READERS: Final = 8
"""Photographs read at a time."""

_CARD: Final = """
# Segments found by specray

Found without labels by spectral methods; `image` is the photograph as it was found, `label_map` a
PNG of the same upright size (0 = no segment, else `index` + 1; on overlaps the lower index).

Each of `objects` has its `category`, its `index` %s, `score`, tight `bbox`
[x, y, width, height], `area` in pixels and its mask:

```python
from pycocotools import mask

mask.decode({"size": [row["height"], row["width"]], "counts": row["objects"][0]["rle_counts"]})
```
"""

_OF_CLASSES: Final = "(the class; `category` counts without gaps)"
_OF_SEGMENTS: Final = "(rank) within the image"


@dataclass(frozen=True)
class HuggingFace:
    """``data/train-00000-of-00004.parquet`` and a card; ``datasets.load_dataset(folder)`` reads it.

    Photographs that are gone, or are not those any more that were segmented, are left out.
    """

    categories: tuple[Category, ...]
    photographs: Store
    of_classes: bool = False
    """Whether the index of a segment is a class."""

    documents: ClassVar[tuple[Document, ...]] = ()
    part_images: ClassVar[int] = 1024
    part_bytes: ClassVar[int] = 128 * 2**20

    def part(self, place: Place, images: Iterable[AnnotatedImage]) -> Iterator[File | Skipped]:
        """One file, however many images are left for it."""
        buffer = io.BytesIO()
        schema = self._schema()
        batch: list[Row] = []
        with (
            ThreadPoolExecutor(_READERS) as pool,
            pq.ParquetWriter(
                buffer, schema, compression="zstd", use_dictionary=False, write_statistics=False
            ) as writer,
        ):
            for found in pool.map(self._row, images):
                if isinstance(found, Skipped):
                    yield found
                    continue
                batch.append(found)
                if len(batch) == _ROW_GROUP:
                    writer.write_table(pa.Table.from_pylist(batch, schema))
                    batch.clear()
            if batch:  # `datasets` stumbles over a row group without rows
                writer.write_table(pa.Table.from_pylist(batch, schema))
        yield File(part_name("data/train", place), buffer.getvalue())

    def files(self) -> Iterator[File]:
        """The card."""
        front = {
            "pretty_name": "Segments found by specray",
            "task_categories": ["image-segmentation"],
            "tags": ["specray", "unsupervised"],
            "configs": [
                {
                    "config_name": "default",
                    "data_files": [{"split": "train", "path": "data/train-*"}],
                }
            ],
        }
        text = _CARD % (_OF_CLASSES if self.of_classes else _OF_SEGMENTS)
        card = f"---\n{yaml.safe_dump(front, sort_keys=False)}---\n{text}"
        yield File("README.md", card.encode())

    def _schema(self) -> pa.Schema:
        features = {name: _feature(kind) for name, kind in _COLUMNS}
        features["objects"][0]["category"] = {
            "names": [category.name for category in self.categories],
            "_type": "ClassLabel",
        }
        info = {"info": {"features": features}}
        return pa.schema(_COLUMNS, metadata={"huggingface": json.dumps(info)})

    def _row(self, image: AnnotatedImage) -> Row | Skipped:
        """The row of an image, unless its photograph cannot be had."""
        masks = len(image.annotations)
        labels = [annotation.index + 1 for annotation in image.annotations]
        if max(labels, default=0) > MAX_GREY_LABEL:
            return too_many(image, MAX_GREY_LABEL, "use --format coco")
        try:
            blob = self.photographs.read(image.key)
        except ImageError as error:
            return Skipped(image.key, error.code, error.message, masks=masks)
        if image.etag is not None and blob.etag != image.etag:
            message = "the photograph is another than the one that was segmented"
            return Skipped(image.key, ErrorCode.CHANGED, message, masks=masks)
        # readers of old cannot do without a path, and of an odd one nobody knows what they do
        plain = plain_stem(image.key) is not None
        encode = palette_png if max(labels, default=0) <= MAX_PALETTE_LABEL else grey_png
        return {
            "image": {"bytes": blob.data, "path": image.key if plain else None},
            "key": image.key,
            "width": image.width,
            "height": image.height,
            "label_map": {"bytes": encode(label_map(image, labels)), "path": None},
            "objects": [self._object(annotation) for annotation in image.annotations],
        }

    def _object(self, annotation: Annotation) -> Row:
        return {
            "id": annotation.id,
            "category": self.categories.index(annotation.category),
            "index": annotation.index,
            "score": annotation.score,
            "bbox": coco_mask.toBbox(annotation.rle).tolist(),
            "area": annotation.area,
            "rle_counts": annotation.rle["counts"].decode(),
        }


def _feature(kind: Any) -> Any:
    """A type of Arrow as the `datasets` library writes it down."""
    if kind == _IMAGE:
        return {"_type": "Image"}
    if pa.types.is_fixed_size_list(kind):
        return {"feature": _feature(kind.value_type), "length": kind.list_size, "_type": "Sequence"}
    if pa.types.is_list(kind):
        return [_feature(kind.value_type)]
    if pa.types.is_struct(kind):
        return {field.name: _feature(field.type) for field in kind}
    return {"dtype": {"float": "float32"}.get(str(kind), str(kind)), "_type": "Value"}
