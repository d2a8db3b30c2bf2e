"""Measured ratios: the eigen-solver, the whole job, objects and instances against ground truth."""

from specray.pipelines.benchmark.job import BenchmarkConfig, run_benchmark

__all__ = ["BenchmarkConfig", "run_benchmark"]
