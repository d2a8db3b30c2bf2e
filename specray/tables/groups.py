"""Groups of rows of a committed shard, read one by one: a trainer wants few rows of large files."""

from __future__ import annotations

import io
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from specray.errors import ImageError, UserError
from specray.sources import Store
from specray.tables.commit import shard_metadata


class ShardGroups:
    """The groups of rows of a committed shard.

    Only what is asked for is read, so pages are not compared with the checksum of the whole; the
    footer is compared with its own.

    Parameters
    ----------
    store
        The output.
    name
        Of the shard.

    Raises
    ------
    UserError
        It is not there, or damaged.
    """

    def __init__(self, store: Store, name: str) -> None:
        found = shard_metadata(store, name)
        if found is None:
            raise UserError(f"{name} in {store.uri} is gone or damaged; run specray segment again")
        self._name = name
        self._store = store
        size, metadata = found
        source = _Ranges(store, name, size)
        self._file = pq.ParquetFile(pa.PythonFile(source, "r"), metadata=metadata, pre_buffer=True)

    @property
    def rows(self) -> list[int]:
        """Of every group."""
        metadata = self._file.metadata
        return [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)]

    def read(self, group: int, columns: Sequence[str]) -> pa.Table:
        """Columns of a group.

        Raises
        ------
        UserError
            The store does not deliver it, it is damaged, or of a version without these columns.
        """
        absent = {name.partition(".")[0] for name in columns} - set(self._file.schema_arrow.names)
        if absent:
            raise UserError(
                f"{self._store.uri} has no {', '.join(sorted(absent))}: an older specray made it; "
                "segment again with --overwrite"
            )
        try:
            return self._file.read_row_group(group, columns=list(columns))
        except ImageError as error:
            raise UserError(f"cannot read {self._name} in {self._store.uri}: {error}") from None
        except (pa.ArrowException, OSError) as error:
            raise UserError(
                f"{self._name} in {self._store.uri} is damaged ({error}); delete it and run the "
                "command that made it again"
            ) from None


class _Ranges(io.RawIOBase):
    """An object of a store as a file that may be read anywhere."""

    def __init__(self, store: Store, key: str, size: int) -> None:
        self._store = store
        self._key = key
        self._size = size
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = start + offset
        return self._at

    def read(self, size: int | None = -1) -> bytes:
        left = self._size - self._at
        wanted = left if size is None or size < 0 else min(size, left)
        data = self._store.part(self._key, self._at, wanted) if wanted > 0 else b""
        self._at += len(data)
        return data
