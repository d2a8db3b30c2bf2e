"""The guide: its commands are understood by those that they are for, its sums are right."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from typing import Final

import click
import pytest
from ray._private.runtime_env.packaging import get_excludes_from_ignore_files
from ray.dashboard.modules.job import cli as job_cli
from ray.scripts.scripts import start

from tests.cluster.reading import CLUSTER, check_job, version
from tests.conftest import ROOT

TEXT: Final = (CLUSTER / "README.md").read_text()


def commands(text: str) -> Iterator[str]:
    """Lines of the code of a page, those that are continued as one."""
    for block in re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            if code := re.sub(r"\s+#.*", "", line).strip():
                yield code


def test_our_commands_are_understood() -> None:
    found = list(commands(TEXT))
    jobs = [each for each in found if each.startswith("specray ")]
    jobs += [re.split(r" -- +", each, maxsplit=1)[1] for each in found if " -- " in each]
    assert len(jobs) >= 2
    for job in jobs:
        check_job(job)


def test_rays_commands_are_understood() -> None:
    starts = [each for each in commands(TEXT) if "ray start " in each]
    assert len(starts) == 2
    for each in starts:
        start.make_context("start", shlex.split(each.partition("ray start ")[2]))
    (submit,) = (each for each in commands(TEXT) if "ray job submit " in each)
    args = shlex.split(submit.partition("ray job submit ")[2])
    given = job_cli.submit.make_context("submit", args).params
    assert given["entrypoint"][:2] == ("python", "jobs/segment.py")
    told = re.findall(r"`ray job (\w+)((?: --\w+)*) photos-1`", TEXT)
    assert {name for name, _ in told} == {"logs", "status", "stop"}
    for name, flags in told:
        command: click.Command = getattr(job_cli, name)
        command.make_context(name, [*flags.split(), "photos-1"])


def test_flags_in_the_text_exist() -> None:
    known = {"--shm-size=10g", "--working-dir", "--runtime-env-json"}
    told = set(re.findall(r"`(--[^`]+)`", TEXT)) - known
    job = "specray segment --input a --output b"
    ours = told - {"--working-dir .", "--num-cpus=0", "--num-gpus=0", "--submission-id photos-1"}
    for flag in ours:
        words = flag.replace("\n", " ")
        values = {"--endpoint": "http://h", "--image-size": "480"}
        values |= {"--max-pixels": "9", "--max-patches": "9", "--num-workers": "2", "--wait": "60"}
        values |= dict.fromkeys(("--decode-cpus", "--worker-gpus", "--mask-cpus"), "0.25")
        check_job(f"{job} {words} {values.get(words, '')}")


def test_files_and_images_that_it_names_exist() -> None:
    for name in re.findall(r"\]\(([^)#]+)[^)]*\)", TEXT):
        assert (CLUSTER / name).exists(), name
    for name in re.findall(r"cluster/[\w./]+\w", TEXT):
        assert (ROOT / name).exists(), name
    assert set(re.findall(r"specray:([\d.]+)-", TEXT)) == {version()}


def test_its_arithmetic() -> None:
    rows = re.findall(r"^\| (\d+) \| ([\d.]+) p \| ([\d.]+) \|$", TEXT, re.MULTILINE)
    assert len(rows) == 4
    for rate, dollars, example in rows:
        exact = 1e6 / float(rate) / 3600
        assert float(dollars) == pytest.approx(exact, rel=0.01)
        assert float(example) == pytest.approx(2 * exact, rel=0.01)
    cores = re.findall(r"^\| (\d+) \| (\d+) \| (\d+) \|$", TEXT, re.MULTILINE)
    assert len(cores) == 3
    for rate, fast, none in cores:
        assert abs(int(rate) * (0.004 + 0.148) - int(fast)) < 1.5
        assert abs(int(rate) * (0.004 + 0.031) - int(none)) < 1.5


def test_the_working_folder_goes_without_its_history() -> None:
    excluded = get_excludes_from_ignore_files(ROOT, include_gitignore=True)
    for name in (".git", ".git/HEAD", ".venv/bin/python"):
        assert any(each(ROOT / name) for each in excluded), name
    assert not any(each(ROOT / "specray") for each in excluded)
