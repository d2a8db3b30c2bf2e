"""The two kinds of failure: one that stops the job and one that becomes a row."""

from __future__ import annotations

from enum import StrEnum


class UserError(Exception):
    """Something the person at the keyboard can fix.

    The message is one line that says what is wrong and what to do. The command
    line prints it without a traceback and exits with code 2.
    """


class ErrorCode(StrEnum):
    """Why an image has no segments. The values are stored in tables; never rename one."""

    MISSING = "missing"  # listed, but gone when it was read
    UNREADABLE = "unreadable"  # the store refused or failed to deliver the object
    EMPTY = "empty"  # zero bytes
    NOT_AN_IMAGE = "not_an_image"  # no allowed image format recognises the bytes
    CORRUPT = "corrupt"  # the format is recognised, its data are damaged or truncated
    TOO_MANY_PIXELS = "too_many_pixels"  # the header promises more than the pixel budget
    TOO_SMALL = "too_small"  # not one whole patch fits on a side
    TOO_MANY_PATCHES = "too_many_patches"  # the affinity matrix would not fit the budget
    NOT_FINITE = "not_finite"  # the backbone returned NaN or infinite features


class Stage(StrEnum):
    """Where on the road an image failed. Stored in tables; never rename one."""

    READ = "read"
    DECODE = "decode"
    FEATURES = "features"


class ImageError(Exception):
    """A fault that the image itself causes; it becomes the ``error`` of the image's row.

    Parameters
    ----------
    code
        What is wrong, from the closed list `ErrorCode`.
    stage
        Where it was noticed.
    message
        One sentence for a person, with the figures that matter (sizes, budgets).
    """

    def __init__(self, code: ErrorCode, stage: Stage, message: str) -> None:
        super().__init__(code, stage, message)  # all arguments, so that it pickles
        self.code = code
        self.stage = stage
        self.message = message

    def __str__(self) -> str:
        return f"{self.code} while {self.stage}: {self.message}"
