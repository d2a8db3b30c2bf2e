"""Configurations out of flags and YAML, both named by the fields of frozen dataclasses.

A job's flags, its YAML and its help come from one dataclass and its docstring. ``--config
FILE.yaml`` is read as if its entries stood on the command line before the flags, so flags
override it; so does a file the one that it names as its ``base``.
"""

from __future__ import annotations

import dataclasses
import inspect
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, get_type_hints

import tyro
import yaml

from specray.errors import UserError

EPILOGUE: Final = (
    "Every job takes --config FILE.yaml and --print-config; flags override the file. --address "
    "HOST:6379, or auto, joins a Ray cluster that is running."
)


def parse(config_type: type[Any], prog: str, args: Sequence[str]) -> Any:
    """A configuration out of flags, with ``--config FILE.yaml`` anywhere among them.

    Raises
    ------
    UserError
        The file cannot be read or names something that does not exist.
    SystemExit
        Wrong flags (2), or ``--help`` (0), as argparse does.
    """
    files, flags = _split_config(args)
    trees = (tree for file in files for tree in _trees(file))
    given = [flag for tree in trees for flag in _flags(config_type, tree)]
    return _parsed(config_type, prog, [*given, *flags])


def parse_stages(config_type: type[Any], prog: str, args: Sequence[str]) -> Any:
    """A configuration with a section for each of several jobs, as `parse` makes others.

    In a file a section has the name of its stage, with the entries of that job's own file; a flag
    of a stage begins with its name: ``--label.classes 20``. The other settings are the job's own.

    Parameters
    ----------
    config_type
        Has a field ``OWN``, and ``FILLED``: of each stage, by its field, what the job fills in.
    prog, args
        As of `parse`.
    """
    own, filled = config_type.OWN, config_type.FILLED
    types = get_type_hints(config_type)
    files, flags = _split_config(args)
    given: dict[str, list[str]] = {name: [] for name in (own, *filled)}
    for tree in (tree for file in files for tree in _trees(file)):
        for name, value in tree.items():
            if name in filled and not isinstance(value, dict):
                raise UserError(f"--config: {name!r} must be a mapping")
            place, part = (name, value) if name in filled else (own, {name: value})
            given[place] += _flags(types[place], part)
    for place, flag in _of_stages(flags, own, tuple(filled)):
        given[place].append(flag)
    for stage, names in filled.items():
        for name in (f"--{each.replace('_', '-')}" for each in names):
            if any(flag.partition("=")[0] == name for flag in given[stage]):
                raise UserError(f"{name} of {stage} is filled in; see {prog} --help")
    defaults: dict[str, Any] = {
        each.name: each.default_factory for each in dataclasses.fields(config_type)
    }
    made = {own: _parsed(types[own], prog, given[own])}
    for stage in filled:
        job = f"{prog.split()[0]} {stage.replace('_', '-')}"  # where its flags are explained
        made[stage] = _parsed(types[stage], job, given[stage], defaults[stage]())
    return config_type(**made)


def plain(config: Any) -> dict[str, Any]:
    """A configuration as the mappings and lists of its file."""
    tree: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(config)))
    if not hasattr(config, "FILLED"):
        return tree
    for stage, names in config.FILLED.items():
        tree[stage] = {name: value for name, value in tree[stage].items() if name not in names}
    own: dict[str, Any] = tree.pop(config.OWN)
    return own | tree


def _parsed(config_type: type[Any], prog: str, flags: list[str], default: Any = None) -> Any:
    try:
        return tyro.cli(
            config_type,
            prog=prog,
            args=flags,
            description=f"{_description(config_type)}\n\n{EPILOGUE}",
            config=(tyro.conf.OmitArgPrefixes, tyro.conf.EnumChoicesFromValues),
            **({} if default is None else {"default": default}),
        )
    except ValueError as error:  # a configuration that refuses its own values
        raise UserError(str(error)) from None


def _of_stages(flags: Sequence[str], own: str, stages: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Flags and their values by the section that they belong to, without its name."""
    place = own
    for flag in flags:
        if flag.startswith("--"):
            head, dot, rest = flag[2:].partition(".")
            stage = head.replace("-", "_")
            place = stage if dot and stage in stages else own
            yield place, f"--{rest}" if place == stage else flag
        else:
            yield place, flag


def _description(config_type: type[Any]) -> str:
    """The docstring of a configuration without the part on its fields."""
    return (inspect.getdoc(config_type) or "").partition("\n\nParameters\n")[0]


def split_address(args: Sequence[str]) -> tuple[str | None, list[str]]:
    """The value of ``--address``, None without one, and the other arguments.

    Examples
    --------
    >>> split_address(["--seed", "1", "--address=auto"])
    ('auto', ['--seed', '1'])
    """
    found, rest = _split("--address", args)
    return (found[-1] if found else None), rest


def _split_config(args: Sequence[str]) -> tuple[list[str], list[str]]:
    return _split("--config", args)


def _split(flag: str, args: Sequence[str]) -> tuple[list[str], list[str]]:
    """The values of a flag that may stand anywhere, and the other arguments."""
    values: list[str] = []
    others: list[str] = []
    rest = iter(args)
    for arg in rest:
        if arg == flag:
            values.append(next(rest, ""))
        elif arg.startswith(f"{flag}="):
            values.append(arg.removeprefix(f"{flag}="))
        else:
            others.append(arg)
    return values, others


def _trees(file: str) -> list[dict[str, Any]]:
    """A file's entries, after those of the file that its ``base`` names, relative to itself.

    Raises
    ------
    UserError
        A file cannot be read, or is its own base.
    """
    found: list[dict[str, Any]] = []
    place, seen = Path(file), set[Path]()
    while True:
        if place.resolve() in seen:
            raise UserError(f"--config {file}: {place} is a base of itself")
        seen.add(place.resolve())
        tree = _read_yaml(str(place))
        base = tree.pop("base", None)
        found.insert(0, tree)
        if base is None:
            return found
        place = place.parent / str(base)


def _read_yaml(file: str) -> dict[str, Any]:
    try:
        tree = yaml.safe_load(Path(file).read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"cannot read --config {file!r}: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f" (line {mark.line + 1})" if mark else ""
        raise UserError(f"--config {file} is not YAML{where}") from None
    if not isinstance(tree, dict):
        raise UserError(f"--config {file} must be a mapping of names to values; see --print-config")
    return tree


def _flags(config_type: Any, tree: dict[str, Any]) -> Iterator[str]:
    """The entries of a file as flags, section by section."""
    fields = {field.name: field for field in dataclasses.fields(config_type)}
    for name, value in tree.items():
        if name not in fields:
            raise UserError(f"--config: {name!r} is none of {', '.join(fields)}")
        section: Any = fields[name].default_factory  # the class of a section makes its default
        if dataclasses.is_dataclass(section):
            if not isinstance(value, dict):
                raise UserError(f"--config: {name!r} must be a mapping")
            yield from _flags(section, value)
        elif isinstance(value, bool):
            yield f"--{'' if value else 'no-'}{name.replace('_', '-')}"
        else:
            yield f"--{name.replace('_', '-')}"
            yield from map(str, value if isinstance(value, list) else [value])
