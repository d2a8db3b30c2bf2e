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
    OUT_OF_MEMORY = "out_of_memory"  # alone, on the accelerator and on the CPU
    CHANGED = "changed"  # is another image than the one that was segmented
    NO_OBJECT = "no_object"  # nothing was found in it that could be cut out
    CRASHED = "crashed"  # ended or stalled its process, alone and more than once
    INTERNAL = "internal"  # an exception that nobody foresaw; worth an issue


class Stage(StrEnum):
    """Where on the road an image failed. Stored in tables; never rename one."""

    READ = "read"
    DECODE = "decode"
    FEATURES = "features"
    SEGMENT = "segment"  # anywhere from features to masks
    EDIT = "edit"  # anywhere from reading it again to its cut-out
    LABEL = "label"  # anywhere from its features to its label map


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


def unforeseen(error: Exception, stage: Stage) -> ImageError:
    """An exception that no one typed, as the error of the one image that raised it."""
    code = ErrorCode.OUT_OF_MEMORY if isinstance(error, MemoryError) else ErrorCode.INTERNAL
    text = " ".join(f"{type(error).__name__}: {error}".split())
    text = text.encode("utf-8", "replace").decode()  # names of files may be no Unicode
    return ImageError(code, stage, text[:500])
