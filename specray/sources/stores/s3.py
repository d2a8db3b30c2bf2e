"""Buckets of Amazon S3 and of stores that speak its protocol."""

from __future__ import annotations

import base64
import hashlib
import logging
import mimetypes
import os
import random
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import Any, Final, TypeVar

import boto3
from botocore import exceptions as aws
from botocore.config import Config
from botocore.session import Session as BotocoreSession

from specray.errors import UserError
from specray.sources.stores.base import (
    Blob,
    Entry,
    check_key,
    check_name,
    check_readable,
    check_size,
    is_listed,
)
from specray.sources.stores.s3_errors import (
    FAILURES,
    MISSING,
    NO_SUCH_RANGE,
    error_code,
    is_transient,
    is_unreachable,
    read_error,
    user_error,
)

T = TypeVar("T")

logger = logging.getLogger(__name__)

PATIENCE: Final = 150.0
"""Seconds for which a call that fails for a passing reason is repeated. At half of all calls
failing that makes some 40 tries, so that a store that only throttles never fails one."""

FIRST_PATIENCE: Final = 2.0
"""The same for a store that cannot be reached and never was: who mistyped an endpoint is told."""

ATTEMPTS: Final = 8
"""Tries that a call has at least, also where each of them waits for a time-out."""

PROBES: Final = 3
"""Tries of the calls that tell, after that, an object that fails from a store that is down."""

BACKOFF: Final = 0.25
MAX_BACKOFF: Final = 8.0
"""Seconds before the second try at most, and before any: each bound is twice the one before, and
the wait is anything below it (full jitter), so that many workers do not come back together."""

ANNOUNCED: Final = 5
"""The failed try, after some four seconds, at which a person hears of it."""

CONNECT_TIMEOUT: Final = 5.0
READ_TIMEOUT: Final = 20.0
"""Seconds without one byte, not for a whole object."""

MAX_PUT_BYTES: Final = 5 * 2**30
"""What S3 takes in one PUT."""

MAX_KEY_BYTES: Final = 1024


@dataclass
class _Contact:
    """Whether a store was ever reached; what a driver knows, its workers know with the store."""

    made: bool = False


@dataclass(frozen=True)
class S3Store:
    """A bucket or a prefix of one; see `Store` for the methods.

    Credentials and region come from the environment of each process, in the order of boto3:
    variables, profile, role. Failures that may pass are retried for `PATIENCE` seconds with
    exponential backoff and full jitter; botocore's own retries are off, because they neither
    see a body that breaks off nor last through an outage. Only a store that was never reached, by
    this object or the one that it was pickled from, is given up after `FIRST_PATIENCE` seconds.

    A key is only a name: ``../a``, ``/a`` and ``a//b`` are sent to the store as they are.

    Parameters
    ----------
    bucket
        Name of the bucket.
    prefix
        Empty, or the common start of all keys with its trailing slash.
    endpoint
        URL of an S3-compatible store, addressed by path; None is Amazon.
    """

    bucket: str
    prefix: str = ""
    endpoint: str | None = None
    _contact: _Contact = field(default_factory=_Contact, init=False, repr=False, compare=False)

    @property
    def uri(self) -> str:
        """The URI ``s3://bucket/prefix``."""
        return f"s3://{self.bucket}/{self.prefix}".rstrip("/")

    def list(self, suffixes: tuple[str, ...] | None = None) -> Iterator[Entry]:
        """Yield the objects page by page, in the order of S3; see `Store.list`."""
        token: dict[str, str] = {}
        while True:
            page = self._call(partial(self._page, **token))
            for item in page.get("Contents", ()):
                key = item["Key"].removeprefix(self.prefix)
                # a key that ends in a slash is a folder marker of some consoles
                if key and not key.endswith("/") and is_listed(key, suffixes):
                    yield Entry(key, item["Size"], item["ETag"].strip('"'))
            if not page.get("IsTruncated"):
                return
            token = {"ContinuationToken": page["NextContinuationToken"]}

    def stat(self, key: str) -> Entry | None:
        """Look up an object with a HEAD request; see `Store.stat`."""
        check_name(key)
        if len((self.prefix + key).encode()) > MAX_KEY_BYTES:  # S3 says no more than "bad request"
            return None
        try:
            found = self._retrying(lambda: self._client.head_object(**self._name(key)))
        except FAILURES as error:
            if error_code(error) in MISSING:
                return None
            raise user_error(self._where, error) from None
        return Entry(key, found["ContentLength"], found["ETag"].strip('"'))

    def read(self, key: str) -> Blob:
        """Return the bytes and the ETag of one GET; see `Store.read`."""
        check_readable(key, check_name)
        try:
            return self._delivered(partial(self._get, key))
        except FAILURES as error:
            raise read_error(self._where, key, error) from None

    def tail(self, key: str, size: int) -> bytes:
        """Return the answer to one ranged GET; see `Store.tail`."""
        return self._ranged(key, f"-{size}")[-size:]  # some stores ignore the range

    def part(self, key: str, start: int, size: int) -> bytes:
        """Return the answer to one ranged GET; see `Store.part`."""
        data = self._ranged(key, f"{start}-{start + size - 1}")
        return data if len(data) <= size else data[start : start + size]

    def write(self, key: str, data: bytes) -> None:
        """Upload in one PUT; see `Store.write`.

        Never in parts: those of a process that was killed would stay, invisible and paid for. The
        store compares the MD5, so it refuses an upload that was torn.
        """
        check_key(key)
        if len(data) >= MAX_PUT_BYTES:
            raise UserError(
                f"cannot write {key!r} to {self.uri}: {len(data)} bytes are more than S3 takes in"
                " one upload; choose a smaller --shard-size"
            )
        digest = hashlib.md5(data, usedforsecurity=False).digest()
        headers = {
            "ContentMD5": base64.b64encode(digest).decode(),
            # without it a browser downloads a page instead of showing it
            "ContentType": mimetypes.guess_type(key)[0] or "application/octet-stream",
        }
        self._call(lambda: self._client.put_object(**self._name(key), Body=data, **headers))

    def exists(self, key: str) -> bool:
        """Tell whether there is an object of this key."""
        return self.stat(key) is not None

    def delete(self, key: str) -> None:
        """Remove an object; see `Store.delete`."""
        check_key(key)
        self._call(lambda: self._client.delete_object(**self._name(key)))

    def remove_temporaries(self) -> int:
        """Nothing to do: an upload appears whole or not at all."""
        return 0

    @property
    def _client(self) -> Any:
        try:
            return _client(self.endpoint, os.getpid())
        except aws.BotoCoreError as error:  # for one, a profile that does not exist
            raise user_error(self._where, error) from None

    def _name(self, key: str) -> dict[str, str]:
        return {"Bucket": self.bucket, "Key": self.prefix + key}

    def _call(self, call: Callable[[], T]) -> T:
        """Retry a call of which any failure stops the job."""
        try:
            return self._retrying(call)
        except FAILURES as error:
            raise user_error(self._where, error) from None

    def _delivered(self, call: Callable[[], T]) -> T:
        """Retry a call for one object; if it keeps failing, tell whose fault that is."""
        try:
            return self._retrying(call)
        except FAILURES as error:
            if not is_transient(error):
                raise
        self._probe()
        # the store is up, at the latest by now: what fails again is the fault of the object
        return self._retrying(call, patient=False)

    def _probe(self) -> None:
        """Stop the job if the store is down. One that refuses to list is not."""
        try:
            self._retrying(partial(self._page, MaxKeys=1), patient=False)
        except FAILURES as error:
            if is_transient(error):
                raise user_error(self._where, error) from None

    def _retrying(self, call: Callable[[], T], patient: bool = True) -> T:
        """Repeat a call that failed for a passing reason, with exponential backoff."""
        start = time.monotonic()
        attempt = 0
        while True:
            attempt += 1
            try:
                answer = call()
                self._contact.made = True
                return answer
            except FAILURES as error:
                self._contact.made |= not is_unreachable(error)
                attempts, seconds = (ATTEMPTS, PATIENCE) if patient else (PROBES, 0.0)
                if not self._contact.made:
                    attempts, seconds = PROBES, min(seconds, FIRST_PATIENCE)
                spent = attempt >= attempts and time.monotonic() - start >= seconds
                if spent or not is_transient(error):
                    raise
                if attempt == ANNOUNCED:
                    where, code = self._where, error_code(error)
                    logger.warning("%s: %s, trying again for %.0f s", where, code, seconds)
            time.sleep(random.uniform(0, min(MAX_BACKOFF, BACKOFF * 2 ** (attempt - 1))))

    def _page(self, **arguments: Any) -> Any:
        page = self._client.list_objects_v2(Bucket=self.bucket, Prefix=self.prefix, **arguments)
        if "IsTruncated" not in page:
            # botocore takes an answer whose body was lost for a page without objects
            raise aws.IncompleteReadError(actual_bytes=0, expected_bytes=1)
        return page

    def _ranged(self, key: str, span: str) -> bytes:
        check_readable(key, check_name)
        try:
            return self._delivered(partial(self._get, key, Range=f"bytes={span}")).data
        except FAILURES as error:
            if error_code(error) in NO_SUCH_RANGE:  # of an empty object, or behind its end
                return b""
            raise read_error(self._where, key, error) from None

    def _get(self, key: str, **arguments: str) -> Blob:
        answer = self._client.get_object(**self._name(key), **arguments)
        # not "with": that would hand out the stream below, which neither checks the length nor
        # raises errors of botocore
        with closing(answer["Body"]) as body:
            check_size(key, answer["ContentLength"])
            return Blob(body.read(), answer["ETag"].strip('"'))

    @property
    def _where(self) -> str:
        return self.uri if self.endpoint is None else f"{self.uri} at {self.endpoint}"


@lru_cache(maxsize=16)
def _client(endpoint: str | None, process: int) -> Any:
    """Return the client of this process; `process` keeps a fork from sharing connections."""
    session = BotocoreSession()
    # off Amazon the lookup of a role must give up soon; on Amazon one lost packet is no verdict
    session.set_config_variable("metadata_service_timeout", 1)
    session.set_config_variable("metadata_service_num_attempts", 2)
    config = Config(
        connect_timeout=CONNECT_TIMEOUT,
        read_timeout=READ_TIMEOUT,
        max_pool_connections=64,
        retries={"mode": "standard", "total_max_attempts": 1},
        # the MD5 that we send does it, and older S3-compatible stores know no other
        request_checksum_calculation="when_required",
    )
    if endpoint is not None:
        # what older S3-compatible stores understand: no bucket as host, no checksums in answers
        config = config.merge(
            Config(
                s3={"addressing_style": "path"},
                response_checksum_validation="when_required",
            )
        )
    return boto3.Session(botocore_session=session).client(
        "s3", endpoint_url=endpoint, config=config
    )
