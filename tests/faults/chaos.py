"""Kill processes of a running Ray cluster at random, seeded times: for a cluster of your own.

Start a job, start this beside it, type the job's command again if its driver died, and compare::

    export RAY_ADDRESS=auto
    specray segment --input s3://bucket/in --output s3://bucket/calm
    specray segment --input s3://bucket/in --output s3://bucket/out &
    python -m tests.faults.chaos --seed 1 --every 20 --seconds 600
    python -m tests.faults.compare s3://bucket/calm s3://bucket/out

It kills worker processes by process id, on every node, from tasks that need no CPU. With
``--raylets`` it also kills raylets, each of which takes its whole node along: whoever keeps the
cluster must bring it back. It never touches the head node's raylet.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import random
import time
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

VICTIMS = {"worker": "ray::MapBatches", "actor": "ray::MapWorker", "raylet": "raylet"}
"""Kind to how the titles of its processes begin."""


def main() -> None:
    """Kill until the time is over; prints one line of JSON per strike."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0, help="of the schedule")
    parser.add_argument("--every", type=float, default=20, help="mean seconds between strikes")
    parser.add_argument("--seconds", type=float, default=600, help="how long to go on")
    parser.add_argument("--raylets", action="store_true", help="kill whole nodes, too")
    arguments = parser.parse_args()
    ray.init(logging_level=logging.ERROR, log_to_driver=False)
    rng = random.Random(arguments.seed)
    kinds = ["worker", "actor", *(["raylet"] if arguments.raylets else [])]
    end = time.monotonic() + arguments.seconds
    while (pause := rng.expovariate(1 / arguments.every)) < end - time.monotonic():
        time.sleep(pause)
        print(json.dumps(strike(rng, rng.choice(kinds))), flush=True)
    ray.shutdown()


def strike(rng: random.Random, kind: str) -> dict[str, Any]:
    """Kill one process of a kind on a random node that has one."""
    here = ray.get_runtime_context().get_node_id()
    nodes = sorted(node["NodeID"] for node in ray.nodes() if node["Alive"])
    if kind == "raylet":
        nodes = [node for node in nodes if node != here]
    rng.shuffle(nodes)
    for node in nodes:
        there = NodeAffinitySchedulingStrategy(node, soft=False)
        task = kill_one.options(scheduling_strategy=there).remote(VICTIMS[kind], rng.random())
        try:
            killed = ray.get(task, timeout=30)
        except ray.exceptions.RayError:  # with its raylet went the task itself
            killed = -1
        if killed:
            return {"kind": kind, "node": node, "process": killed}
    return {"kind": kind, "process": None}


@ray.remote(num_cpus=0, max_retries=0)
def kill_one(title: str, draw: float) -> int:
    """Kill a process of this node; returns its id, 0 if there is none."""
    import psutil  # comes with Ray

    raylet = psutil.Process(os.getppid())  # other clusters may run on this machine
    found = []
    for process in [raylet, *raylet.children(recursive=True)]:
        try:
            words = process.cmdline()
        except psutil.Error:
            continue
        if words and words[0].rpartition("/")[2].startswith(title):
            found.append(process)
    if not found:
        return 0
    victim = sorted(found, key=lambda process: process.pid)[int(draw * len(found))]
    victim.kill()
    return int(victim.pid)


if __name__ == "__main__":
    main()
