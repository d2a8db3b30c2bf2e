"""The file of the cluster launcher, as Ray prepares and validates it. Nothing is launched."""

from __future__ import annotations

import shlex

import pytest
from ray.autoscaler._private.util import prepare_config, validate_config
from ray.scripts.scripts import start

from tests.cluster.reading import read


def test_ray_takes_it() -> None:
    validate_config(prepare_config(read("aws.yaml")))


def test_ray_would_refuse_a_misspelt_field() -> None:
    tree = read("aws.yaml")
    tree["available_node_types"]["gpu"]["max_worker"] = tree["max_workers"]
    with pytest.raises(Exception, match="max_worker"):
        validate_config(prepare_config(tree))


def test_nodes() -> None:
    tree = read("aws.yaml")
    types = tree["available_node_types"]
    head = types[tree["head_node_type"]]
    assert head["resources"] == {"CPU": 0}
    assert "InstanceMarketOptions" not in head["node_config"]  # on demand
    assert types["gpu"]["resources"]["GPU"] == 1
    assert types["gpu"]["min_workers"] == 0 < types["gpu"]["max_workers"]
    assert types["cpu"]["min_workers"] < types["cpu"]["max_workers"]
    assert sum(types[name]["max_workers"] for name in ("gpu", "cpu")) == tree["max_workers"]
    for name in ("gpu", "cpu"):
        assert types[name]["node_config"]["InstanceMarketOptions"] == {"MarketType": "spot"}
    for each in types.values():
        assert each["node_config"]["IamInstanceProfile"]["Name"].startswith("specray-")
    assert tree["provider"]["cache_stopped_nodes"] is False


def test_commands() -> None:
    tree = read("aws.yaml")
    (install,) = (line for line in tree["setup_commands"] if "pip install" in line)
    assert "constraints.txt" in install
    assert "[cluster]" in install
    found = [*tree["head_start_ray_commands"], *tree["worker_start_ray_commands"]]
    starts = [line.partition("/ray start ")[2] for line in found if "/ray start " in line]
    for line in starts:
        start.make_context("start", shlex.split(line))
    assert "--dashboard-host=127.0.0.1" in starts[0]
    assert "--num-cpus=0" in starts[0]
