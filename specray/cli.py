"""The command line: ``specray JOB ...`` and ``python jobs/JOB.py ...`` are the same parser.

A job's flags, its YAML and its help come from one frozen dataclass and its docstring. ``--config
FILE.yaml`` is read as if its entries stood on the command line before the flags, so flags
override it.
"""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import json
import logging
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import tyro
import yaml

from specray.errors import UserError

JOBS = {
    "segment": ("specray.pipelines.segment", "SegmentConfig", "run_segment"),
    "label": ("specray.pipelines.labels.job", "LabelConfig", "run_label"),
    "train-primaps": (
        "specray.pipelines.training.job",
        "TrainPrimapsConfig",
        "run_train_primaps",
    ),
    "train-segmenter": (
        "specray.pipelines.segmenter.job",
        "TrainSegmenterConfig",
        "run_train_segmenter",
    ),
    "predict": ("specray.pipelines.predict.job", "PredictConfig", "run_predict"),
    "export": ("specray.pipelines.export", "ExportConfig", "run_export"),
    "edit": ("specray.pipelines.edit", "EditConfig", "run_edit"),
    "report": ("specray.pipelines.report", "ReportConfig", "run_report"),
    "demo": ("specray.pipelines.demo", "DemoConfig", "run_demo"),
    "benchmark": ("specray.pipelines.benchmark", "BenchmarkConfig", "run_benchmark"),
}
"""Per job: the module, its configuration and the function that runs it."""

_EPILOGUE = "Every job takes --config FILE.yaml and --print-config; flags override the file."


def main(argv: Sequence[str] | None = None) -> int:
    """Run a job; returns the exit code.

    The last line on standard output is one JSON object. 0: all work is committed;
    2: something that the message tells how to mend.
    """
    args = list(sys.argv[1:] if argv is None else argv)
    if not args or args[0] in ("-h", "--help"):
        print(_overview())
        return 0 if args else 2
    job, *rest = args
    if job not in JOBS:
        print(f"specray: no job named {job!r}; there are {', '.join(JOBS)}", file=sys.stderr)
        return 2
    try:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, _terminate)
        return _run(job, rest)
    except UserError as error:
        print(f"specray {job}: {error}", file=sys.stderr)
        return 2
    except (KeyboardInterrupt, _Terminated) as stop:
        print(f"specray {job}: stopped; the same command continues", file=sys.stderr)
        return 143 if isinstance(stop, _Terminated) else 130


class _Terminated(BaseException):
    """SIGTERM: whoever runs this wants the machine back, as with spot instances."""


def _terminate(signum: int, frame: object) -> None:
    raise _Terminated


def _run(job: str, args: list[str]) -> int:
    module_name, config_name, function_name = JOBS[job]
    # The hub's client narrates its retries; what counts is in our one line at the end.
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    module = importlib.import_module(module_name)  # heavy: only the job that runs is imported
    config_type = getattr(module, config_name)
    print_config = "--print-config" in args
    args = [arg for arg in args if arg != "--print-config"]
    config = parse(config_type, f"specray {job}", args)
    if print_config:
        print(yaml.safe_dump(_plain(config), sort_keys=False, allow_unicode=True), end="")
        return 0
    result = getattr(module, function_name)(config)
    print(json.dumps(result, ensure_ascii=False))
    return 0


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
    given = [flag for file in files for flag in _flags(config_type, _read_yaml(file))]
    try:
        return tyro.cli(
            config_type,
            prog=prog,
            args=[*given, *flags],
            description=f"{_description(config_type)}\n\n{_EPILOGUE}",
            config=(tyro.conf.OmitArgPrefixes, tyro.conf.EnumChoicesFromValues),
        )
    except ValueError as error:  # a configuration that refuses its own values
        raise UserError(str(error)) from None


def _description(config_type: type[Any]) -> str:
    """The docstring of a configuration without the part on its fields."""
    return (inspect.getdoc(config_type) or "").partition("\n\nParameters\n")[0]


def _split_config(args: Sequence[str]) -> tuple[list[str], list[str]]:
    files: list[str] = []
    flags: list[str] = []
    rest = iter(args)
    for arg in rest:
        if arg == "--config":
            files.append(next(rest, ""))
        elif arg.startswith("--config="):
            files.append(arg.removeprefix("--config="))
        else:
            flags.append(arg)
    return files, flags


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


def _plain(value: Any) -> Any:
    """Dataclasses and tuples as the mappings and lists that YAML knows."""
    return json.loads(json.dumps(dataclasses.asdict(value)))


def _overview() -> str:
    lines = ["usage: specray JOB [OPTIONS]", "", "jobs:"]
    lines += [f"  {name:<13} specray {name} --help" for name in JOBS]
    return "\n".join([*lines, "", _EPILOGUE])
