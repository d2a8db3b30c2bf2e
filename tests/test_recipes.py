"""The recipes: each can be typed as its comment says, and one of each kind runs to its end."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shlex
import string
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import timm
import torch
import yaml
from pycocotools import mask as coco_mask

from specray.cli import main
from specray.datasets import Truth
from specray.flags import parse_stages
from specray.masks.rle import RLE
from specray.pipelines.evaluate.config import EvaluateConfig
from specray.pipelines.evaluate.published import Published, parse_published
from specray.pipelines.evaluate.tasks import NEEDS, make_task
from specray.pipelines.road.config import PipelineConfig
from specray.pipelines.road.job import run_pipeline
from specray.pipelines.road.stages import Stages
from tests.conftest import ROOT
from tests.recipes_cases import (
    write_cityscapes,
    write_ecssd,
    write_voc2007,
    write_voc2012,
    write_youtube_vis,
)

FOLDER = ROOT / "jobs/recipes"
RECIPES = sorted(path.relative_to(FOLDER).as_posix() for path in FOLDER.glob("*/*.yaml"))
BASES = sorted(path.relative_to(FOLDER).as_posix() for path in FOLDER.glob("*/base/*.yaml"))


def command(recipe: str) -> str:
    """What the comment of a recipe says to type."""
    comment = (FOLDER / recipe).read_text().split("\nbase:")[0]
    assert len(comment.splitlines()) <= 3
    (found,) = re.findall(r"^# (specray run .*)$", comment, flags=re.MULTILINE)
    return str(found)


def typed(recipe: str, *more: str, **places: str) -> PipelineConfig:
    """The configuration of that command, in the root of the project, and of more flags."""
    line = string.Template(command(recipe)).safe_substitute(places)
    job, run, *flags = shlex.split(line)
    assert (job, run) == ("specray", "run")
    assert flags[:2] == ["--config", f"jobs/recipes/{recipe}"]
    assert flags[-2:] == ["--output", "out/"]
    flags[1] = str(FOLDER / recipe)
    found: PipelineConfig = parse_stages(PipelineConfig, "specray run", [*flags, *more])
    return found


def published(config: PipelineConfig) -> list[Published]:
    return [parse_published(line) for line in config.evaluate.published]


def possible_figures(config: PipelineConfig, folder: Path) -> set[str]:
    """What the evaluate job can say of what the road makes, by the ground truth's layout."""
    truth = dataclasses.replace(config.evaluate.truth, truth=str(folder), list=None)
    dataset = truth.open()
    made = {"classes"}
    if config.road.labels == "none":
        methods = set(config.segment.methods)
        made = {kind for kind in ("boxes", "mask") if "objects" in methods}
        made |= methods & {"instances"}
    mask = np.eye(4, dtype=np.bool_)
    rle: RLE = coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8))
    true = Truth(
        size=(4, 4),
        boxes=np.array([[0.0, 0, 4, 4]]),
        mask=mask,
        classes=mask.astype(np.uint8),
        instances=({"bbox": [0, 0, 4, 4], "area": 4, "iscrowd": 0, "rle": rle},),
    )
    figures = set()
    for name, needs in NEEDS.items():
        if needs.predicted not in made or needs.true not in dataset.kinds:
            continue
        if config.evaluate.tasks and name not in config.evaluate.tasks:
            continue
        task = make_task(name, ("0", "1"), dataset.categories, masks=True)
        sums = np.maximum(task.of("a", "a", None, true).sums, 1)
        figures |= {f"{name}.{figure}" for figure in task.figures(sums)}
    return figures


def test_there_is_a_recipe_for_every_result() -> None:
    count = {paper: sum(each.startswith(paper) for each in RECIPES) for paper in ("dsm", "spec")}
    assert count == {"dsm": 9, "spec": 6} and len(RECIPES) == 15 + 30


@pytest.mark.parametrize("recipe", RECIPES)
def test_the_command_of_a_recipe_is_complete(recipe: str, tmp_path: Path) -> None:
    config = typed(recipe)
    assert config.segment.features.backbone in timm.list_models(pretrained=True)
    # stages fit together, but for the ground truth, which is elsewhere
    Stages(dataclasses.replace(config, evaluate=EvaluateConfig((), ""))).check()
    assert config.evaluate.truth.truth is not None
    assert published(config)
    names = {each.figure for each in published(config)}
    assert names <= possible_figures(config, tmp_path)
    if "semantic" in str(names):
        rules = {name.split(".")[1] for name in names}
        assert rules == {config.evaluate.matching}  # the one that the classes are listed by
    # five to fifteen lines, of which the flags that are typed are none
    assert 5 <= len((FOLDER / recipe).read_text().splitlines()) <= 15
    assert not {"input", "output", "test"} & yaml.safe_load((FOLDER / recipe).read_text()).keys()


def test_recipes_print_their_configuration(capsys: pytest.CaptureFixture[str]) -> None:
    recipe = FOLDER / "dsm/voc07-localisation.yaml"
    places = ["--input", "in", "--output", "out", "--evaluate.truth", "truth"]
    assert main(["run", "--config", str(recipe), *places, "--print-config"]) == 0
    printed = yaml.safe_load(capsys.readouterr().out)
    assert printed["evaluate"]["published"] == [
        "localisation.corloc 62.7 | DSM, table of localisation, from memory, unverified"
    ]


def test_recipes_are_what_their_names_say() -> None:
    for recipe in RECIPES:
        config, name = typed(recipe), Path(recipe).stem
        road, segment, em = config.road, config.segment, config.train_primaps.em
        if recipe.startswith("primaps/"):
            dataset, _, rest = name.partition("-dino")
            assert config.evaluate.truth.dataset == dataset
            model = re.fullmatch(r"(v2)?-([sb])([0-9]+)-.*", rest)
            assert model is not None
            dino, size, patch = model.groups()
            kind = {"s": "small", "b": "base"}[size]
            assert segment.features.backbone.startswith(f"vit_{kind}_patch{patch}_")
            assert ("dinov2" in segment.features.backbone) == (dino == "v2")
            assert segment.images.image_size == (322 if dino == "v2" else 320)
            assert (road.labels, road.rounds, em.weighting) == ("primaps", 0, "pixels")
            assert (em.em_steps > 0) == (not name.endswith("-baseline"))
            assert (em.start == "centres") == name.endswith("-sota-em")
            assert (segment.features.projection is not None) == name.endswith("-sota-em")
        elif recipe.startswith("specuniis/"):
            parts = name.split("-")[1:]
            channels = "+".join(parts[:-1]) or "all"
            asked = segment.instances
            assert (asked.separation, asked.instance_channels) == ("spectral", channels)
            assert asked.instance_affinity == parts[-1]
        else:
            labelled = name in ("voc12-semantic", "voc12-self-training")
            assert len(road.seeds) == 5 * labelled
            assert road.rounds == (name == "voc12-self-training")


def test_what_is_shared_is_no_recipe_and_nothing_is_left_over() -> None:
    used = set()
    for recipe in (*RECIPES, *BASES):
        tree = yaml.safe_load((FOLDER / recipe).read_text())
        if "base" in tree:
            base = (FOLDER / recipe).parent / tree["base"]
            used.add(base.resolve().relative_to(FOLDER).as_posix())
        assert ("published" in tree.get("evaluate", {})) == (recipe in RECIPES)
    assert used == set(BASES)


def test_the_table_of_recipes_has_every_figure() -> None:
    rows = re.findall(
        r"^\| \[(.+)\]\((.+)\) \| ([^|]+) \| ([^|]+) \|",
        (FOLDER / "README.md").read_text(),
        flags=re.MULTILINE,
    )
    assert sorted(path for _, path, _, _ in rows) == RECIPES
    for name, path, figures, source in rows:
        assert name == Path(path).stem
        lines = yaml.safe_load((FOLDER / path).read_text())["evaluate"]["published"]
        written = [line.partition(" | ")[0].split(" ", 1)[1].replace("+-", "±") for line in lines]
        assert figures == " / ".join(written)
        # what nobody has looked up says so in both places
        assert ("from memory" in source) == any("from memory, unverified" in each for each in lines)


EM = (
    *("--segment.image-size", "96", "--train-primaps.batch", "3"),
    *("--train-primaps.kmeans-steps", "2", "--train-primaps.num-workers", "1"),
)
NET = (
    *("--segment.image-size", "128", "--seeds", "3", "--train-segmenter.encoder", "resnet18"),
    *("--train-segmenter.steps", "1", "--train-segmenter.batch", "2"),
    *("--train-segmenter.short-side", "64", "--train-segmenter.crop", "48"),
    *("--train-segmenter.num-workers", "1"),
)
SMALL: Mapping[str, tuple[str, ...]] = {
    "dsm/voc07-localisation.yaml": ("--segment.limit", "5"),
    "dsm/ecssd-objects.yaml": ("--segment.image-size", "240"),
    "dsm/voc12-semantic.yaml": ("--segment.image-size", "128", "--seeds", "3", "4"),
    "dsm/voc12-self-training.yaml": NET,
    "specuniis/ytvis19-ncr-boc.yaml": ("--segment.image-size", "240"),
    "primaps/cityscapes-dino-s8-baseline.yaml": EM,
    "primaps/cityscapes-dino-s8-sota-em.yaml": (*EM, "--train-primaps.em-steps", "2"),
}
"""What makes recipes small."""
DATA: Mapping[str, tuple[str, Callable[[Path, Path], Path]]] = {
    "voc07": ("VOC2007", write_voc2007),
    "ecssd": ("ECSSD", write_ecssd),
    "voc12": ("VOC2012", write_voc2012),
    "ytvis19": ("YTVIS", write_youtube_vis),
    "cityscapes": ("CITYSCAPES", write_cityscapes),
}
"""How comments call the data, and what is like it, by the beginning of a recipe's name."""


def write_head(path: Path) -> Path:
    """A head on the tokens of the ViT-Tiny, with the centres of 27 classes, as STEGO has it."""
    generator = torch.Generator().manual_seed(0)
    shapes = {"net.cluster1.0.weight": (8, 192, 1, 1), "cluster_probe.clusters": (27, 8)}
    tensors = {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    path.write_bytes(safetensors.torch.save(tensors))
    return path


def write_encoder(path: Path) -> Path:
    """Random weights of a ResNet-18."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        state = timm.create_model("resnet18", num_classes=0).state_dict()
    path.write_bytes(safetensors.torch.save(state))
    return path


def prepare(recipe: str, folder: Path, variables: Mapping[str, str]) -> None:
    """Type what the comment of its base says."""
    base = yaml.safe_load((FOLDER / recipe).read_text())["base"]
    text = (FOLDER / recipe).parent.joinpath(base).read_text()
    for line in re.findall(r"^#   (.+)$", text, flags=re.MULTILINE):
        subprocess.run(["sh", "-c", line], cwd=folder, env=os.environ | variables, check=True)


@pytest.mark.slow
@pytest.mark.parametrize("recipe", SMALL, ids=lambda recipe: Path(recipe).stem)
def test_a_recipe_of_each_kind_runs_to_published_ours_and_difference(
    recipe: str,
    ray_cluster: None,
    assets: Path,
    vit_tiny: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    variable, write = DATA[Path(recipe).stem.split("-")[0]]
    variables = {
        variable: str(write(assets / "data", tmp_path / "data")),
        "LIST": str(tmp_path / "data/list.txt"),
        "HEAD": str(write_head(tmp_path / "head.safetensors")),
        "R50": str(write_encoder(tmp_path / "resnet.safetensors")),
    }
    prepare(recipe, tmp_path, variables)
    monkeypatch.chdir(tmp_path)
    config = typed(
        recipe,
        *("--segment.backbone", "vit_tiny_patch16_224", "--segment.weights", str(vit_tiny)),
        *("--segment.num-workers", "1", "--predict.num-workers", "1", "--evaluate.bootstrap", "0"),
        *("--output", str(tmp_path / "out")),  # the workers of this Ray are in another folder
        *SMALL[recipe],
        **variables,
    )
    result = run_pipeline(config)
    figures = json.loads(Path(result["scores"], "scores.json").read_text())["figures"]
    told = {name: each["published"] for name, each in figures.items() if "published" in each}
    assert told.keys() == {each.figure for each in published(config)}
    for each in published(config):
        ours = result["figures"][each.figure]
        assert 0 <= ours <= 1
        beside = dataclasses.asdict(each) | {"difference": ours - each.value}
        assert told[each.figure] == beside
    printed = capsys.readouterr().err
    assert "published  difference" in printed and f"published: {min(told)}: " in printed
