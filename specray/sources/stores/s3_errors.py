"""What the failures of S3 mean: passing or not, the fault of one object or of all."""

from __future__ import annotations

from typing import Final

from botocore import exceptions as aws
from urllib3.exceptions import HTTPError

from specray.errors import ImageError, UserError
from specray.sources.stores.base import missing, unreadable

NO_SUCH_RANGE: Final = {"InvalidRange", "416"}
MISSING: Final = {"NoSuchKey", "404", "NotFound", "KeyTooLongError"}
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
    # two that say that the upload was torn on the way
    "BadDigest",
    "IncompleteBody",
    "InternalError",
    "RequestTimeout",
    "RequestTimeoutException",
    "ServiceUnavailable",
    "SlowDown",
    "Throttling",
    "ThrottlingException",
    "TooManyRequests",
    "XAmzContentSHA256Mismatch",
}
_BROKEN: Final = (
    aws.ConnectionError,
    aws.HTTPClientError,
    aws.IncompleteReadError,
    aws.FlexibleChecksumError,
    HTTPError,  # botocore lets TLS through that breaks off in a body
)
FAILURES: Final = (aws.ClientError, aws.BotoCoreError, HTTPError)
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


def is_transient(error: Exception) -> bool:
    """Tell whether the same call may succeed later."""
    if isinstance(error, aws.ClientError):
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        return error_code(error) in _TRANSIENT or status == 429 or (status >= 500 and status != 501)
    if isinstance(error, aws.SSLError):
        return "CERTIFICATE_VERIFY_FAILED" not in str(error)
    return isinstance(error, _BROKEN)


def is_unreachable(error: Exception) -> bool:
    """Tell whether nobody was there to answer: refused, not resolved, no way to get there."""
    return isinstance(error, _UNREACHABLE)


def error_code(error: Exception) -> str:
    """Return the code of S3, or the kind of an error that is none of its answers."""
    if isinstance(error, aws.ClientError):
        return str(error.response.get("Error", {}).get("Code", "unknown"))
    return type(error).__name__


def read_error(where: str, key: str, error: Exception) -> ImageError | UserError:
    """Return what a read that failed for good turns into."""
    if isinstance(error, (*_NO_CREDENTIALS, *_UNREACHABLE)):
        return user_error(where, error)
    code = error_code(error)
    if code in MISSING:
        return missing(key)
    if code in _BAD_CREDENTIALS | {"NoSuchBucket"}:
        return user_error(where, error)
    return unreadable(f"{key!r}: the store answers {code}")


def user_error(where: str, error: Exception) -> UserError:
    """Name the remedy. Only codes and class names: the texts of AWS may quote secrets."""
    if isinstance(error, _NO_CREDENTIALS):
        return UserError(
            f"no credentials for {where} ({type(error).__name__}): set AWS_ACCESS_KEY_ID and"
            " AWS_SECRET_ACCESS_KEY, choose a profile with AWS_PROFILE, or attach a role"
        )
    if isinstance(error, _UNREACHABLE):
        return UserError(
            f"cannot reach {where} ({type(error).__name__}): check --endpoint and the network,"
            " then run the same command again"
        )
    code = error_code(error)
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
