"""Buckets of Amazon S3 and of stores that speak its protocol."""

from __future__ import annotations

import io
import mimetypes
import os
import random
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
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
    check_readable_key,
    check_size,
    is_listed,
    missing,
    unreadable,
)

T = TypeVar("T")

ATTEMPTS: Final = 4
"""Rounds of `_retrying`, each with `CLIENT_ATTEMPTS` tries by botocore's standard mode. The outer
rounds exist because botocore neither retries a body that breaks off nor, once its retry quota is
spent, an error of a store that fails often."""

CLIENT_ATTEMPTS: Final = 5

MAX_KEY_BYTES: Final = 1024

_MISSING: Final = {"NoSuchKey", "404", "NotFound", "KeyTooLongError"}
_BAD_CREDENTIALS: Final = {
    "AuthFailure",
    "AuthorizationHeaderMalformed",
    "ExpiredToken",
    "ExpiredTokenException",
    "InvalidAccessKeyId",
    "InvalidToken",
    "RequestTimeTooSkewed",
    "SignatureDoesNotMatch",
    "TokenRefreshRequired",
    "UnrecognizedClientException",
}
_REFUSED: Final = {"AccessDenied", "AllAccessDisabled", "AccountProblem", "403", "Forbidden"}
_TRANSIENT: Final = {
    "InternalError",
    "RequestTimeout",
    "RequestTimeoutException",
    "ServiceUnavailable",
    "SlowDown",
    "Throttling",
    "ThrottlingException",
    "TooManyRequests",
}
_NO_CREDENTIALS: Final = (
    aws.NoCredentialsError,
    aws.PartialCredentialsError,
    aws.CredentialRetrievalError,
    aws.ProfileNotFound,
    aws.TokenRetrievalError,
    aws.SSOError,
    aws.UnauthorizedSSOTokenError,
)
_UNREACHABLE: Final = (
    aws.EndpointConnectionError,
    aws.ConnectTimeoutError,
    aws.ProxyConnectionError,
    aws.SSLError,
)


@dataclass(frozen=True)
class S3Store:
    """A bucket or a prefix of one; see `Store` for the methods.

    Credentials and region come from the environment of each process, in the order of boto3:
    variables, profile, role. Failures are retried with exponential backoff before they count.

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

    @property
    def uri(self) -> str:
        """The URI ``s3://bucket/prefix``."""
        return f"s3://{self.bucket}/{self.prefix}".rstrip("/")

    def list(self, suffixes: tuple[str, ...] | None = None) -> Iterator[Entry]:
        """Yield the objects page by page, in the order of S3; see `Store.list`."""
        token: dict[str, str] = {}
        while True:
            page = self._call("list_objects_v2", Prefix=self.prefix, **token)
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
        check_key(key)
        if len((self.prefix + key).encode()) > MAX_KEY_BYTES:  # S3 says no more than "bad request"
            return None
        try:
            found = _retrying(partial(self._client.head_object, **self._name(key)))
        except aws.ClientError as error:
            if _code(error) in _MISSING:
                return None
            raise self._user_error(error) from None
        except aws.BotoCoreError as error:
            raise self._user_error(error) from None
        return Entry(key, found["ContentLength"], found["ETag"].strip('"'))

    def read(self, key: str) -> Blob:
        """Return the bytes and the ETag of one GET; see `Store.read`."""
        check_readable_key(key)
        try:
            return _retrying(partial(self._get, key))
        except aws.ClientError as error:
            if _code(error) in _MISSING:
                raise missing(key) from None
            if _code(error) in _BAD_CREDENTIALS | {"NoSuchBucket"}:
                raise self._user_error(error) from None
            raise unreadable(f"{key!r}: the store answers {_code(error)}") from None
        except (*_NO_CREDENTIALS, *_UNREACHABLE) as error:
            raise self._user_error(error) from None
        except aws.BotoCoreError as error:
            raise unreadable(f"{key!r}: {type(error).__name__}") from None

    def write(self, key: str, data: bytes) -> None:
        """Upload in one PUT, or in parts that appear as one object; see `Store.write`."""
        check_key(key)
        name = self._name(key)
        # without it a browser downloads a page instead of showing it
        kind = {"ContentType": mimetypes.guess_type(key)[0] or "application/octet-stream"}
        try:
            # a new stream each round: the transfer closes the one it is given
            _retrying(lambda: self._client.upload_fileobj(io.BytesIO(data), **name, ExtraArgs=kind))
        except (aws.ClientError, aws.BotoCoreError) as error:
            raise self._user_error(error) from None

    def exists(self, key: str) -> bool:
        """Tell whether there is an object of this key."""
        return self.stat(key) is not None

    def delete(self, key: str) -> None:
        """Remove an object; see `Store.delete`."""
        check_key(key)
        self._call("delete_object", Key=self.prefix + key)

    @property
    def _client(self) -> Any:
        try:
            return _client(self.endpoint, os.getpid())
        except aws.BotoCoreError as error:  # for one, a profile that does not exist
            raise self._user_error(error) from None

    def _name(self, key: str) -> dict[str, str]:
        return {"Bucket": self.bucket, "Key": self.prefix + key}

    def _call(self, operation: str, **arguments: str) -> Any:
        call = partial(getattr(self._client, operation), Bucket=self.bucket, **arguments)
        try:
            return _retrying(call)
        except (aws.ClientError, aws.BotoCoreError) as error:
            raise self._user_error(error) from None

    def _get(self, key: str) -> Blob:
        answer = self._client.get_object(**self._name(key))
        # not "with": that would hand out the stream below, which neither checks the length nor
        # raises errors of botocore
        with closing(answer["Body"]) as body:
            check_size(key, answer["ContentLength"])
            return Blob(body.read(), answer["ETag"].strip('"'))

    def _user_error(self, error: Exception) -> UserError:
        """Name the remedy. Only codes and class names: the texts of AWS may quote secrets."""
        where = self.uri if self.endpoint is None else f"{self.uri} at {self.endpoint}"
        if isinstance(error, _NO_CREDENTIALS):
            return UserError(
                f"no credentials for {where} ({type(error).__name__}): set AWS_ACCESS_KEY_ID and"
                " AWS_SECRET_ACCESS_KEY, choose a profile with AWS_PROFILE, or attach a role"
            )
        if isinstance(error, _UNREACHABLE):
            return UserError(
                f"cannot reach {where} ({type(error).__name__}): check --endpoint and the network"
            )
        code = _code(error)
        if code == "NoSuchBucket":
            return UserError(f"no such bucket: {where}; check the URI and --endpoint")
        if code in _BAD_CREDENTIALS:
            return UserError(f"{where} rejects the credentials ({code}); renew or correct them")
        if code in _REFUSED:
            return UserError(
                f"access denied to {where}: the credentials need s3:ListBucket and s3:GetObject,"
                " for an output also s3:PutObject and s3:DeleteObject"
            )
        return UserError(f"{where} keeps failing with {code}; run the same command again later")


@lru_cache(maxsize=16)
def _client(endpoint: str | None, process: int) -> Any:
    """Return the client of this process; `process` keeps a fork from sharing connections."""
    session = BotocoreSession()
    # off Amazon the lookup of a role must give up soon; on Amazon one lost packet is no verdict
    session.set_config_variable("metadata_service_timeout", 1)
    session.set_config_variable("metadata_service_num_attempts", 2)
    config = Config(
        connect_timeout=5,
        read_timeout=60,
        max_pool_connections=64,
        retries={"mode": "standard", "total_max_attempts": CLIENT_ATTEMPTS},
    )
    if endpoint is not None:
        # what older S3-compatible stores understand: no bucket as host, no checksum trailers
        config = config.merge(
            Config(
                s3={"addressing_style": "path"},
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
            )
        )
    return boto3.Session(botocore_session=session).client(
        "s3", endpoint_url=endpoint, config=config
    )


def _retrying(call: Callable[[], T]) -> T:
    """Repeat a call that failed for a passing reason, with exponential backoff and full jitter."""
    for attempt in range(ATTEMPTS - 1):
        try:
            return call()
        except (aws.ClientError, aws.BotoCoreError) as error:
            if not _is_transient(error):
                raise
            time.sleep(random.uniform(0, 2**attempt))
    return call()


def _is_transient(error: Exception) -> bool:
    if isinstance(error, aws.ClientError):
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        return _code(error) in _TRANSIENT or status >= 500
    return isinstance(error, (aws.HTTPClientError, aws.IncompleteReadError))


def _code(error: Exception) -> str:
    if isinstance(error, aws.ClientError):
        return str(error.response.get("Error", {}).get("Code", "unknown"))
    return type(error).__name__
