"""From a URI to its store."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from specray.errors import UserError
from specray.sources.stores.arrow import ArrowStore
from specray.sources.stores.base import Store
from specray.sources.stores.local import LocalStore
from specray.sources.stores.s3 import S3Store

_SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_BUCKET: Final = re.compile(r"[A-Za-z0-9._-]{3,255}")
_SECRET: Final = re.compile(
    r"://[^/@:]*:[^/@]*@|[?&][^=&]*(secret|token|key|password|credential|sig)[^=&]*=",
    re.IGNORECASE,
)
_ARROW_SCHEMES: Final = {"gs", "gcs", "abfs", "abfss", "hdfs", "viewfs", "mock"}


def open_store(uri: str, endpoint: str | None = None) -> Store:
    """Return the store of a URI. Nothing is contacted before the first call of a method.

    Parameters
    ----------
    uri
        A path, ``file:///path``, ``s3://bucket/prefix``, or a URI for Arrow: ``gs://``,
        ``abfs://``, ``hdfs://``. The prefix of an S3 URI is taken literally, not unquoted.
    endpoint
        URL of an S3-compatible store, for ``s3://`` alone; None takes
        ``AWS_ENDPOINT_URL_S3`` or
        ``AWS_ENDPOINT_URL``, else Amazon. It travels with the store to other processes.

    Raises
    ------
    UserError
        The URI is not one of these, or carries a secret.

    Examples
    --------
    >>> open_store("s3://photos/2026", endpoint="http://127.0.0.1:9000").uri
    's3://photos/2026'
    """
    if not uri:
        raise UserError("the URI is empty; give a folder or s3://bucket/prefix")
    if _SECRET.search(uri):
        raise UserError("the URI contains a secret; remove it and set it in the environment")
    _check_endpoint(endpoint)
    match = _SCHEME.match(uri)
    scheme = match[1].lower() if match else ""
    if scheme == "s3":
        return _open_s3(uri, endpoint)
    if scheme == "":
        return LocalStore(absolute(uri))
    if scheme == "file":
        return LocalStore(_file_path(uri))
    if scheme in _ARROW_SCHEMES:
        return ArrowStore(uri)
    raise UserError(f"unknown scheme {scheme}://; use a path, s3://, gs://, abfs:// or hdfs://")


def absolute(uri: str) -> str:
    """A path that means the same to a process with another working directory; URIs as they are.

    Examples
    --------
    >>> absolute("/a/../b"), absolute("s3://bucket/../b")
    ('/b', 's3://bucket/../b')
    """
    if _SCHEME.match(uri):
        return uri
    # without "..", but links not followed: one may lead elsewhere on another machine
    path = Path(uri).expanduser() if uri.split("/")[0] == "~" else Path(uri)
    return os.path.normpath(path.absolute())


def open_parent(uri: str, endpoint: str | None = None) -> tuple[Store, str]:
    """Return the store that holds the object at `uri`, and the key of the object in it.

    Raises
    ------
    UserError
        As `open_store`, or the URI names no object.
    """
    parent, slash, key = uri.rpartition("/")
    if not key or (parent.endswith("/") and parent != "/"):
        raise UserError(f"{uri} names no file")
    return open_store(parent or slash or ".", endpoint), key


def _check_endpoint(endpoint: str | None) -> None:
    """Refuse what is no URL of a server, or carries a secret that a run record would keep."""
    if endpoint is None:
        return
    parts = urlsplit(endpoint)
    plain = parts.hostname and not parts.username and not parts.query
    if parts.scheme not in {"http", "https"} or not plain:
        raise UserError("the endpoint must be a URL such as https://host:9000, without user")


def _open_s3(uri: str, endpoint: str | None) -> S3Store:
    bucket, _, prefix = uri[len("s3://") :].partition("/")
    if not _BUCKET.fullmatch(bucket):  # not quoted: it may be an access key
        raise UserError("the URI names no valid bucket; write s3://bucket/prefix")
    endpoint = (
        endpoint or os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    )
    _check_endpoint(endpoint)
    prefix = prefix.rstrip("/")
    return S3Store(bucket, prefix + "/" if prefix else "", endpoint)


def _file_path(uri: str) -> str:
    host, slash, path = uri[len("file://") :].partition("/")
    if host not in {"", "localhost"} or not slash:
        raise UserError(f"{uri} is not a local path; write file:///absolute/path")
    return os.path.normpath(Path("/" + unquote(path)))
