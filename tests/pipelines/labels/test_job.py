"""Whole runs of the label job, on Ray."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from specray.backbones import BackboneConfig
from specray.errors import ErrorCode, UserError
from specray.masks import RefineConfig, RegionConfig, SuperpixelConfig
from specray.pipelines.config import ImageConfig, RunConfig, SegmentConfig
from specray.pipelines.labels.config import LabelConfig, Source
from specray.pipelines.labels.job import CODEBOOK, run_label
from specray.pipelines.segment import run_segment
from specray.semantics import ClusterConfig, Codebook
from specray.tables.reading import read
from specray.tables.rows import Row
from specray.tables.schema import LABELS
from tests.pipelines.photographs import HEIGHT, WIDTH, photograph, write_photographs

pytestmark = pytest.mark.usefixtures("ray_cluster")

BROKEN = "b/broken.jpg"
CLASSES = 5


def segment(source: object, output: object, **options: Any) -> dict[str, Any]:
    run: dict[str, Any] = {"shard_size": 6, "batch_size": 3, "num_workers": 1, "device": "cpu"}
    run |= {name: options.pop(name) for name in ("retry",) if name in options}
    return run_segment(
        SegmentConfig(
            input=str(source),
            output=str(output),
            methods=("regions", "superpixels", "objects", "primaps"),
            keep=("features",),
            images=ImageConfig(image_size=192),
            features=BackboneConfig(backbone="descriptor"),
            regions=RegionConfig(regions=4),
            superpixels=SuperpixelConfig(12),
            run=RunConfig(**run),
            **options,
        )
    )


def label(segments: object, output: object, **options: Any) -> dict[str, Any]:
    clusters = ClusterConfig(**{"classes": CLASSES, "restarts": 2} | options.pop("clusters", {}))
    refinement = RefineConfig(options.pop("refine", "none"))
    options.setdefault("num_workers", 1)  # each takes seconds to start
    return run_label(
        LabelConfig(str(segments), str(output), clusters=clusters, refinement=refinement, **options)
    )


def painted(row: Row) -> NDArray[np.int64]:
    """The semantic map, -1 where there is no class; classes must not overlap."""
    label_map = np.full((row["height"], row["width"]), -1)
    for found in row["segments"]:
        assert found["method"] == "class" and 0 <= found["score"] <= 1
        mask = coco_mask.decode(found["rle"]).astype(bool)
        assert (label_map[mask] == -1).all() and mask.sum() == found["area"]
        label_map[mask] = found["index"]
    return label_map


def good(output: object) -> list[Row]:
    return [row for row in read(str(output)).to_pylist() if row["error"] is None]


def maps_of(output: object) -> dict[str, NDArray[np.int64]]:
    return {row["key"]: painted(row) for row in good(output)}


def same_maps(one: object, other: object) -> bool:
    a, b = maps_of(one), maps_of(other)
    return a.keys() == b.keys() and all(np.array_equal(a[key], b[key]) for key in a)


def shards_of(output: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (output / "shards").iterdir()}


def codebook_of(output: Path) -> Codebook:
    return Codebook.from_bytes((output / CODEBOOK).read_bytes())


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten photographs and a broken one."""
    folder = tmp_path_factory.mktemp("photographs")
    write_photographs(folder, 10)
    (folder / BROKEN).write_bytes(b"no image")
    return folder


@pytest.fixture(scope="module")
def segments(photographs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Their segments, in three shards."""
    output = tmp_path_factory.mktemp("segments")
    found = segment(photographs, output)
    assert (found["images"], found["errors"]) == (11, 1)
    return output


@pytest.fixture
def changing(photographs: Path, segments: Path, tmp_path: Path) -> Iterator[Path]:
    """The photographs, that may change until the end of a test, and a copy of their segments.

    In their place, because segments belong to the place of their images.
    """
    shutil.copytree(photographs, tmp_path / "before")
    shutil.copytree(segments, tmp_path / "segments")
    yield photographs
    shutil.rmtree(photographs)
    shutil.copytree(tmp_path / "before", photographs)


@pytest.fixture(scope="module")
def labels(segments: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An undisturbed output."""
    output = tmp_path_factory.mktemp("labels")
    result = label(segments, output)
    assert (result["images"], result["errors"], result["classes"]) == (11, 1, CLASSES)
    assert result["points"] == 120
    return output


def test_every_image_of_the_segment_table_has_one_row_in_its_order(
    segments: Path, labels: Path
) -> None:
    rows, before = read(str(labels)), read(str(segments))
    assert rows.schema.equals(LABELS)
    for name in ("key", "size", "etag", "width", "height", "error"):
        assert rows[name].equals(before[name])


@pytest.mark.parametrize("refine", ["none", "fast"])
@pytest.mark.parametrize("source", ["superpixels", "regions", "patches"])
def test_maps_cover_every_image_with_classes(
    segments: Path, tmp_path: Path, source: Source, refine: str
) -> None:
    label(segments, tmp_path / "out", source=source, refine=refine)
    for row in good(tmp_path / "out"):
        found = painted(row)
        assert found.shape == (HEIGHT, WIDTH) == (row["height"], row["width"])
        assert found.min() >= 0 and found.max() < CLASSES
        assert (row["points"] is None) == (source == "patches")


@pytest.mark.parametrize(("source", "method"), [("objects", "object"), ("primaps", "primap")])
def test_pixels_outside_of_what_is_clustered_have_no_class(
    segments: Path, tmp_path: Path, source: Source, method: str
) -> None:
    label(segments, tmp_path / "out", source=source, clusters={"classes": 2})
    found = {row["key"]: row["segments"] for row in good(segments)}
    for row in good(tmp_path / "out"):
        masks = [s["rle"] for s in found[row["key"]] if s["method"] == method]
        inside = coco_mask.decode(coco_mask.merge(masks)).astype(bool)
        np.testing.assert_array_equal(painted(row) >= 0, inside)


def test_points_are_the_segments_with_their_classes(segments: Path, labels: Path) -> None:
    before = {row["key"]: row["segments"] for row in good(segments)}
    for row in good(labels):
        mine = [s for s in before[row["key"]] if s["method"] == "superpixel"]
        assert [p["index"] for p in row["points"]] == [s["index"] for s in mine]
        assert [p["bbox"] for p in row["points"]] == [s["bbox"] for s in mine]
        found = painted(row)
        for point, source in zip(row["points"], mine, strict=True):
            inside = coco_mask.decode(source["rle"]).astype(bool)
            assert (found[inside] == point["class"]).all()
            assert 0 <= point["confidence"] <= 1


def test_labels_are_those_of_the_codebook(segments: Path, labels: Path) -> None:
    codebook = codebook_of(labels)
    before = {row["key"]: row["segments"] for row in good(segments)}
    for row in good(labels):
        mine = [s for s in before[row["key"]] if s["method"] == "superpixel"]
        found = codebook.assign(np.array([s["feature"] for s in mine], np.float16))
        assert [p["class"] for p in row["points"]] == found.classes.tolist()
        stored = np.array([p["confidence"] for p in row["points"]], np.float32)
        np.testing.assert_array_equal(stored, found.confidence)


def test_run_json_says_how_it_was_made(segments: Path, labels: Path) -> None:
    record = json.loads((labels / "run.json").read_text())
    assert (record["job"], record["status"]) == ("label", "finished")
    assert record["segments"].endswith(segments.name)
    clustering = record["clustering"]
    assert (clustering["points"], clustering["fitted"]) == (120, 120)
    assert [each["id"] for each in clustering["classes"]] == list(range(CLASSES))
    medoids = {each["medoid"]["key"] for each in clustering["classes"]}
    assert medoids <= {row["key"] for row in good(segments)}
    assert len(clustering["merges"]) == CLASSES - 1
    assert "faiss-cpu" in record["versions"]


def test_the_same_command_again_does_nothing(segments: Path, labels: Path) -> None:
    before = shards_of(labels)
    assert label(segments, labels)["new_images"] == 0
    assert shards_of(labels) == before


def test_workers_do_not_change_a_byte(segments: Path, labels: Path, tmp_path: Path) -> None:
    label(segments, tmp_path / "out", num_workers=2)
    assert shards_of(tmp_path / "out") == shards_of(labels)
    assert codebook_of(tmp_path / "out").digest == codebook_of(labels).digest


def test_new_images_are_labelled_by_the_classes_that_are_there(
    changing: Path, tmp_path: Path
) -> None:
    label(tmp_path / "segments", tmp_path / "out")
    before, codebook = maps_of(tmp_path / "out"), codebook_of(tmp_path / "out")
    photograph(77).save(changing / "a" / "new.png")
    segment(changing, tmp_path / "segments")
    result = label(tmp_path / "segments", tmp_path / "out")
    assert result["images"] == 12 and 0 < result["new_images"] < 12
    assert codebook_of(tmp_path / "out").to_bytes() == codebook.to_bytes()
    after = maps_of(tmp_path / "out")
    assert after.keys() - before.keys() == {"a/new.png"}
    for key, label_map in before.items():
        np.testing.assert_array_equal(label_map, after[key])
    # as if all had been labelled by it at once
    again = str(tmp_path / "out" / CODEBOOK)
    label(tmp_path / "segments", tmp_path / "again", codebook=again)
    assert same_maps(tmp_path / "out", tmp_path / "again")


def test_images_that_segment_has_mended_are_labelled_then(changing: Path, tmp_path: Path) -> None:
    label(tmp_path / "segments", tmp_path / "out")
    rows = read(str(tmp_path / "out")).to_pylist()
    assert [row["key"] for row in rows if row["error"]] == [BROKEN]
    photograph(5).save(changing / BROKEN, "JPEG")
    segment(changing, tmp_path / "segments", retry=(ErrorCode.NOT_AN_IMAGE,))
    result = label(tmp_path / "segments", tmp_path / "out")
    assert (result["errors"], result["new_images"]) == (0, 1) or result["errors"] == 0


def test_a_photograph_that_is_gone_is_an_error_row_that_retry_does_again(
    changing: Path, tmp_path: Path
) -> None:
    (changing / "a" / "000.jpg").rename(tmp_path / "kept.jpg")
    result = label(tmp_path / "segments", tmp_path / "out", refine="fast")
    assert (result["images"], result["errors"]) == (11, 2)
    errors = {r["key"]: r["error"] for r in read(str(tmp_path / "out")).to_pylist() if r["error"]}
    assert errors["a/000.jpg"]["code"] == "missing" and errors["a/000.jpg"]["stage"] == "label"
    (tmp_path / "kept.jpg").rename(changing / "a" / "000.jpg")
    retry = (ErrorCode.MISSING,)
    result = label(tmp_path / "segments", tmp_path / "out", refine="fast", retry=retry)
    assert (result["new_images"], result["errors"]) == (1, 1)
    label(tmp_path / "segments", tmp_path / "calm", refine="fast")
    assert shards_of(tmp_path / "out") == shards_of(tmp_path / "calm")


def test_background_regions_can_stand_apart_or_be_merged(segments: Path, tmp_path: Path) -> None:
    before = {row["key"]: row["segments"] for row in good(segments)}
    for background, expected in (("apart", -1), ("merged", 0)):
        output = tmp_path / background
        label(segments, output, source="regions", background=background, clusters={"classes": 3})
        for row in good(output):
            (behind,) = (
                coco_mask.decode(s["rle"]).astype(bool)
                for s in before[row["key"]]
                if s["method"] == "region" and s["index"] == 0
            )
            found = painted(row)
            assert (found[behind] == expected).all()
            assert row["points"][0]["class"] == expected
            if background == "apart":
                assert (found[~behind] >= 0).all()
    assert codebook_of(tmp_path / "apart").digest == codebook_of(tmp_path / "merged").digest


def test_names_are_kept_and_change_no_row(segments: Path, labels: Path, tmp_path: Path) -> None:
    shutil.copytree(labels, tmp_path / "out")
    (tmp_path / "names.json").write_text('{"0": "sky", "3": "road"}')
    result = label(segments, tmp_path / "out", names=str(tmp_path / "names.json"))
    assert result["new_images"] == 0 and shards_of(tmp_path / "out") == shards_of(labels)
    record = json.loads((tmp_path / "out" / "run.json").read_text())
    names = [each["name"] for each in record["clustering"]["classes"]]
    assert names == ["sky", None, None, "road", None]
    assert codebook_of(tmp_path / "out").names == {0: "sky", 3: "road"}


def test_new_classes_take_the_ids_of_an_older_codebook(
    segments: Path, labels: Path, tmp_path: Path
) -> None:
    old = codebook_of(labels)
    ids = {int(i): int(i) + 10 for i in old.ids}
    moved = Codebook(
        **{name: getattr(old, name) for name in old.__dataclass_fields__}
        | {"ids": old.ids + 10, "next_id": 20, "names": {12: "two"}}
    )
    (tmp_path / "old.safetensors").write_bytes(moved.to_bytes())
    label(segments, tmp_path / "out", match=str(tmp_path / "old.safetensors"))
    found, before = maps_of(tmp_path / "out"), maps_of(labels)
    for key in before:
        np.testing.assert_array_equal(found[key], before[key] + 10)
    assert set(ids.values()) == set(codebook_of(tmp_path / "out").ids.tolist())
    assert codebook_of(tmp_path / "out").names == {12: "two"}


def test_a_sample_is_said_to_be_one(segments: Path, tmp_path: Path, capsys: Any) -> None:
    label(segments, tmp_path / "out", clusters={"fit_points": 50, "classes": 2})
    clustering = json.loads((tmp_path / "out" / "run.json").read_text())["clustering"]
    assert (clustering["points"], clustering["fitted"]) == (120, 50)
    assert "50 of 120 superpixels" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"source": "instances"}, "--methods instances"),
        ({"codebook": "nowhere.safetensors"}, "cannot read --codebook"),
        ({"clusters": {"classes": 1000}}, "classes"),
        ({"names": "nowhere.json"}, "cannot read --names"),
    ],
)
def test_what_cannot_be_done_is_refused_in_one_line(
    segments: Path, tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message) as caught:
        label(segments, tmp_path / "out", **options)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out" / "run.json").exists()


def test_a_codebook_of_other_features_is_refused(
    segments: Path, labels: Path, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="other features: source"):
        label(segments, tmp_path / "out", source="regions", codebook=str(labels / CODEBOOK))


def test_another_configuration_on_the_same_output_is_refused(segments: Path, labels: Path) -> None:
    with pytest.raises(UserError, match="classes: 5 -> 4"):
        label(segments, labels, clusters={"classes": 4})


def test_a_codebook_that_is_gone_is_not_replaced_by_another(
    segments: Path, labels: Path, tmp_path: Path
) -> None:
    shutil.copytree(labels, tmp_path / "out")
    (tmp_path / "out" / CODEBOOK).unlink()
    with pytest.raises(UserError, match="is gone or is another"):
        label(segments, tmp_path / "out")
    assert label(segments, tmp_path / "out", overwrite=True)["new_images"] == 11
    assert shards_of(tmp_path / "out") == shards_of(labels)


def test_the_table_opens_without_us(labels: Path) -> None:
    rows = pa.concat_tables(
        pa.parquet.read_table(path) for path in sorted((labels / "shards").iterdir())
    )
    assert rows.num_rows == 11
