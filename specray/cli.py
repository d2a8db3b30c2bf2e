"""The command line: ``specray JOB ...`` and ``python jobs/JOB.py ...`` are the same parser."""

from __future__ import annotations

import importlib
import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Sequence
from functools import partial

import yaml

from specray.errors import UserError
from specray.flags import EPILOGUE, parse, parse_stages, plain, split_address

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
    "evaluate": ("specray.pipelines.evaluate.job", "EvaluateConfig", "run_evaluate"),
    "export": ("specray.pipelines.export", "ExportConfig", "run_export"),
    "edit": ("specray.pipelines.edit", "EditConfig", "run_edit"),
    "report": ("specray.pipelines.report", "ReportConfig", "run_report"),
    "sweep": ("specray.pipelines.sweep.job", "SweepConfig", "run_sweep"),
    "run": ("specray.pipelines.road.job", "PipelineConfig", "run_pipeline"),
    "demo": ("specray.pipelines.demo", "DemoConfig", "run_demo"),
    "benchmark": ("specray.pipelines.benchmark", "BenchmarkConfig", "run_benchmark"),
}
"""Per job: the module, its configuration and the function that runs it."""


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
    terminated = threading.Event()
    try:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, partial(_terminate, terminated))
        return _run(job, rest)
    except UserError as error:
        print(f"specray {job}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"specray {job}: stopped; the same command continues", file=sys.stderr)
        return 143 if terminated.is_set() else 130


def _terminate(terminated: threading.Event, signum: int, frame: object) -> None:
    """SIGTERM: whoever runs this wants the machine back, as with spot instances.

    A KeyboardInterrupt, for of all that may be raised while it waits for workers, Ray lets only
    that one through.
    """
    terminated.set()
    raise KeyboardInterrupt


def _run(job: str, args: list[str]) -> int:
    module_name, config_name, function_name = JOBS[job]
    # The hub's client narrates its retries; what counts is in our one line at the end.
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    module = importlib.import_module(module_name)  # heavy: only the job that runs is imported
    config_type = getattr(module, config_name)
    print_config = "--print-config" in args
    args = [arg for arg in args if arg != "--print-config"]
    address, args = split_address(args)
    if address is not None:
        join(address, job)
    of = parse_stages if hasattr(config_type, "FILLED") else parse
    config = of(config_type, f"specray {job}", args)
    if print_config:
        print(yaml.safe_dump(plain(config), sort_keys=False, allow_unicode=True), end="")
        return 0
    result = getattr(module, function_name)(config)
    print(json.dumps(result, ensure_ascii=False))
    return 0


def join(address: str, job: str) -> None:
    """Have the job join the Ray cluster at an address, instead of starting Ray on this machine.

    Raises
    ------
    UserError
        It is that of a job server, to which jobs are submitted.
    """
    if address.startswith(("http://", "https://")):
        raise UserError(
            f"{address} is where jobs are submitted: ray job submit --address {address} "
            f"--working-dir . -- python jobs/{job}.py ...; --address takes that of the cluster "
            "itself, HOST:6379, or auto on one of its machines"
        )
    os.environ["RAY_ADDRESS"] = address


def _overview() -> str:
    lines = ["usage: specray JOB [OPTIONS]", "", "jobs:"]
    lines += [f"  {name:<13} specray {name} --help" for name in JOBS]
    return "\n".join([*lines, "", EPILOGUE])
