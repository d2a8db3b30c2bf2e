"""KubeRay's manifests: fields that exist, pods that are safe, room for what a pass does.

No cluster is started. Pods are read as Kubernetes' own types, Ray's parameters by Ray's parser, the
job's command by ours.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import msgspec
import pytest
import yaml
from lightkube.models.core_v1 import PodSpec
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.utils.quantity import parse_quantity
from ray.scripts.scripts import start

from tests.cluster.reading import CLUSTER, check_job, pinned, read, version

KINDS: Final = ("rayjob", "raycluster")
API: Final = {
    name: set(fields)
    for name, fields in yaml.safe_load(
        (Path(__file__).parent / "ray_io_v1.yaml").read_text()
    ).items()
}
"""Fields by their type."""


def cluster_of(kind: str) -> Any:
    spec = read(f"kuberay/{kind}.yaml")["spec"]
    return spec["rayClusterSpec"] if kind == "rayjob" else spec


def groups(kind: str) -> dict[str, Any]:
    """The groups of pods by their names."""
    spec = cluster_of(kind)
    return {"head": spec["headGroupSpec"]} | {
        group["groupName"]: group for group in spec["workerGroupSpecs"]
    }


def pods(kind: str) -> dict[str, Any]:
    """Specifications of the pods, with that of the submitter, by group."""
    found = {name: group["template"]["spec"] for name, group in groups(kind).items()}
    if kind == "rayjob":
        found["submitter"] = read("kuberay/rayjob.yaml")["spec"]["submitterPodTemplate"]["spec"]
    return found


def gibibytes(quantity: str) -> float:
    return float(parse_quantity(quantity) or 0) / 2**30


def assert_is(tree: Any, kind: type[msgspec.Struct]) -> None:
    """A tree has the fields of a type of Kubernetes, in its types, and no others."""
    assert msgspec.to_builtins(msgspec.convert(tree, kind)) == tree


@pytest.mark.parametrize("kind", KINDS)
def test_fields_are_those_of_the_api(kind: str) -> None:
    tree = read(f"kuberay/{kind}.yaml")
    assert tree.keys() == {"apiVersion", "kind", "metadata", "spec"}
    assert tree["apiVersion"] == "ray.io/v1"
    assert tree["kind"].lower() == kind
    assert_is(tree["metadata"], ObjectMeta)
    if kind == "rayjob":
        assert tree["spec"].keys() <= API["RayJobSpec"]
        assert tree["spec"]["submitterConfig"].keys() <= API["SubmitterConfig"]
        assert tree["spec"]["submitterPodTemplate"].keys() <= {"metadata", "spec"}
    spec = cluster_of(kind)
    assert spec.keys() <= API["RayClusterSpec"]
    assert spec["authOptions"].keys() <= API["AuthOptions"]
    assert spec["autoscalerOptions"].keys() <= API["AutoscalerOptions"]
    assert spec["headGroupSpec"].keys() <= API["HeadGroupSpec"]
    for group in spec["workerGroupSpecs"]:
        assert group.keys() <= API["WorkerGroupSpec"]
        assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]


@pytest.mark.parametrize("kind", KINDS)
def test_pods_are_those_of_kubernetes(kind: str) -> None:
    for spec in pods(kind).values():
        assert_is(spec, PodSpec)
        volumes = {volume["name"] for volume in spec.get("volumes", [])}
        for container in spec["containers"]:
            mounted = {mount["name"] for mount in container.get("volumeMounts", [])}
            assert mounted <= volumes


def test_a_misspelt_field_would_be_found() -> None:
    with pytest.raises(AssertionError):
        assert_is({"containers": [{"name": "a", "livenesProbe": {}}]}, PodSpec)
    with pytest.raises(msgspec.ValidationError):
        assert_is({"containers": [{"name": "a", "image": 3}]}, PodSpec)


def test_both_files_have_the_same_cluster() -> None:
    assert cluster_of("rayjob") == cluster_of("raycluster")


@pytest.mark.parametrize("kind", KINDS)
def test_versions_are_ours(kind: str) -> None:
    assert cluster_of(kind)["rayVersion"] == pinned("ray")
    images = {
        name: container["image"]
        for name, spec in pods(kind).items()
        for container in spec["containers"]
    }
    assert images.pop("gpu") == f"specray:{version()}-cuda"
    assert set(images.values()) == {f"specray:{version()}-cpu"}


@pytest.mark.parametrize("kind", KINDS)
def test_nobody_is_root(kind: str) -> None:
    for spec in pods(kind).values():
        context = spec["securityContext"]
        assert context["runAsNonRoot"]
        assert context["runAsUser"] == 1000  # as in the image
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in spec["containers"]:
            _confined(container["securityContext"])
    _confined(cluster_of(kind)["autoscalerOptions"]["securityContext"])


@pytest.mark.parametrize("kind", KINDS)
def test_memory_is_promised_as_it_is_limited(kind: str) -> None:
    resources = [
        container["resources"] for spec in pods(kind).values() for container in spec["containers"]
    ]
    for each in (*resources, cluster_of(kind)["autoscalerOptions"]["resources"]):
        assert each["requests"]["memory"] == each["limits"]["memory"]


@pytest.mark.parametrize("kind", KINDS)
def test_the_health_of_every_node_is_asked_for(kind: str) -> None:
    for group in groups(kind).values():
        assert "dashboard-agent-listen-port" not in group["rayStartParams"]
        for container in group["template"]["spec"]["containers"]:
            for probe in (container["readinessProbe"], container["livenessProbe"]):
                # of Ray's agent, at its default port; it asks for no token
                assert probe["httpGet"] == {"path": "/api/healthz", "port": 52365}
            patience = container["livenessProbe"]
            assert patience["periodSeconds"] * patience["failureThreshold"] >= 120


@pytest.mark.parametrize("kind", KINDS)
def test_the_object_store_has_its_room(kind: str) -> None:
    for name, group in groups(kind).items():
        # as the API has it: a map of strings to strings, which numbers without quotes are not
        assert all(isinstance(value, str) for value in group["rayStartParams"].values())
        store = int(group["rayStartParams"]["object-store-memory"]) / 2**30
        spec = group["template"]["spec"]
        (container,) = spec["containers"]
        limits = container["resources"]["limits"]
        (volume,) = (
            mount["name"] for mount in container["volumeMounts"] if mount["mountPath"] == "/dev/shm"
        )
        (shared,) = (each["emptyDir"] for each in spec["volumes"] if each["name"] == volume)
        assert shared["medium"] == "Memory"
        assert store < gibibytes(shared["sizeLimit"]) < gibibytes(limits["memory"])
        # as the sizing guide has it: of 854 x 480 pixels in patches of 16 with 192 channels
        cores, gpus = int(limits["cpu"]), int(limits.get("nvidia.com/gpu", 0))
        batch = 16 * (3 * 854 * 480 + 2 * 53 * 30 * 192)
        if name != "head":
            assert store * 2**30 >= 2 * batch * (2 * cores + 4 * gpus)
            assert gibibytes(limits["memory"]) >= store + cores + 8 * gpus


@pytest.mark.parametrize("kind", KINDS)
def test_spot_nodes_are_for_workers(kind: str) -> None:
    found = pods(kind)
    for name in ("gpu", "cpu"):
        assert {"cloud.google.com/gke-spot", "kubernetes.azure.com/scalesetpriority"} <= {
            each["key"] for each in found[name]["tolerations"]
        }
    assert "tolerations" not in found["head"]
    required = found["head"]["affinity"]["nodeAffinity"][
        "requiredDuringSchedulingIgnoredDuringExecution"
    ]
    (term,) = required["nodeSelectorTerms"]
    assert {each["operator"] for each in term["matchExpressions"]} == {"NotIn"}
    assert len(term["matchExpressions"]) == 4


@pytest.mark.parametrize("kind", KINDS)
def test_groups_are_for_what_a_pass_does(kind: str) -> None:
    found = groups(kind)
    assert found["head"]["rayStartParams"]["num-cpus"] == "0"
    assert cluster_of(kind)["enableInTreeAutoscaling"]
    gpu, cpu = found["gpu"], found["cpu"]
    assert gpu["minReplicas"] == gpu["replicas"] == 0 < gpu["maxReplicas"]
    assert cpu["minReplicas"] < cpu["maxReplicas"]
    for name in ("head", "gpu", "cpu"):
        args = [f"--{key}={value}" for key, value in found[name]["rayStartParams"].items()]
        start.make_context("start", [*args, "--block"])


@pytest.mark.parametrize("kind", KINDS)
def test_secrets_are_named_and_not_told(kind: str) -> None:
    assert cluster_of(kind)["authOptions"] == {"mode": "token"}
    assert "kind: Secret\n" not in (CLUSTER / f"kuberay/{kind}.yaml").read_text()
    for name, group in groups(kind).items():
        spec = group["template"]["spec"]
        # only the head talks to Kubernetes, for the autoscaler
        assert spec["automountServiceAccountToken"] == (name == "head")
        for container in spec["containers"]:
            assert "env" not in container
            assert container["envFrom"] == [
                {"secretRef": {"name": "specray-store", "optional": True}}
            ]


def test_the_job_ends_and_is_tried_again(capsys: pytest.CaptureFixture[str]) -> None:
    spec = read("kuberay/rayjob.yaml")["spec"]
    check_job(spec["entrypoint"])
    run = yaml.safe_load(capsys.readouterr().out)["run"]
    assert run["device"] == "cuda"
    # it asks for the GPUs that the group may have, and waits for the first of them
    assert run["num_workers"] == groups("rayjob")["gpu"]["maxReplicas"]
    assert run["wait"] >= 600
    assert spec["backoffLimit"] == spec["submitterConfig"]["backoffLimit"] == 2
    assert spec["shutdownAfterJobFinishes"]
    assert spec["activeDeadlineSeconds"] > 0


def _confined(context: Any) -> None:
    assert context["allowPrivilegeEscalation"] is False
    assert context["capabilities"] == {"drop": ["ALL"]}
