"""The parts of the report that can be held against an independent oracle."""

from __future__ import annotations

import io
from dataclasses import asdict
from itertools import pairwise

import numpy as np
import pytest
import skimage.color
import skimage.data
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from pycocotools import mask as coco_mask

from specray.backbones import DescriptorBackbone
from specray.masks import Connectivity, ObjectConfig, RefineConfig
from specray.pipelines.config import ImageConfig, SegmentConfig
from specray.pipelines.engine import Engine
from specray.pipelines.preparing import prepare
from specray.sources import DecodedImage, resized_size
from specray.spectral import SpectralConfig
from specray.tables.report.cards import Drawing, draw_card
from specray.tables.report.charts import draw_charts
from specray.tables.report.gather import PLACES, SEVERAL, gather
from specray.tables.report.histogram import Histogram
from specray.tables.report.instances import instance_colour, instance_overlay
from specray.tables.report.pictures import (
    density_map,
    heat_map,
    object_overlay,
    region_overlay,
    segment_mask,
    thumbnail_size,
)
from specray.tables.report.raw import raw_objects
from specray.tables.report.render import refinement
from specray.tables.report.sample import Smallest
from specray.tables.rows import Row, table_of
from tests.tables.report_cases import (
    GRID,
    HEIGHT,
    PATCH,
    WIDTH,
    bad_row,
    good_row,
    run_record,
    with_instances,
)


@given(st.lists(st.floats(0, 1), min_size=1), st.floats(0, 1))
def test_quantiles_are_those_of_the_values_to_within_a_bin(
    values: list[float], share: float
) -> None:
    histogram = Histogram(np.linspace(0, 1, 101))
    histogram.add(np.array(values))
    found = histogram.quantile(share)
    below = np.quantile(values, share, method="lower")
    above = np.quantile(values, share, method="higher")
    assert below - 0.011 <= found <= above + 0.011


@given(st.lists(st.floats(0, 1)), st.integers(1, 40), st.booleans())
def test_wider_bars_count_every_value_once(values: list[float], most: int, whole: bool) -> None:
    histogram = Histogram(np.linspace(0, 1, 101))
    histogram.add(np.array(values))
    edges, counts = histogram.bars(most, whole)
    assert counts.sum() == len(values)
    assert len(edges) == len(counts) + 1 <= most + 2
    assert (np.diff(edges) > 0).all()
    assert not values or (edges[0] <= min(values) and max(values) <= edges[-1])


def test_values_beyond_the_ends_count_and_infinite_ones_do_not() -> None:
    histogram = Histogram(np.array([0.0, 1.0, 2.0]))
    histogram.add(np.array([-5.0, 7.0, np.nan, np.inf]))
    assert histogram.counts.tolist() == [1, 1]


@settings(deadline=None)  # Arrow is slow to wake
@given(st.lists(st.integers(), unique=True), st.integers(0, 10), st.integers(1, 5))
def test_the_choice_is_that_of_sorting_everything(ranks: list[int], size: int, step: int) -> None:
    chosen = Smallest(size)
    for start in range(0, len(ranks), step):
        part = ranks[start : start + step]
        chosen.offer([(rank,) for rank in part], table_of([{"key": str(r)} for r in part]))
    assert [row["key"] for row in chosen.rows] == [str(rank) for rank in sorted(ranks)[:size]]


def test_the_sums_are_those_of_a_loop_over_the_rows() -> None:
    good = [good_row(f"{i}.png", seed=i) for i in range(50)]
    for i in (3, 30, 31):
        good[i] = with_instances(good[i], i % 7)
    rows = [*good, bad_row("x"), {**good_row("no segments"), "segments": [], "eigenvalues": []}]
    tables = [table_of(rows[:20]), table_of([]), table_of(rows[20:])]
    found = gather(tables, samples=3, methods=["objects", "regions", "instances"])

    places = np.zeros((PLACES, PLACES), dtype=np.int64)
    scale = np.array([WIDTH, HEIGHT]) / PLACES
    for row in good:
        x, y, width, height = row["segments"][0]["bbox"]
        left, top = np.rint([x, y] / scale).astype(int)
        right, bottom = np.rint([x + width, y + height] / scale).astype(int)
        places[top:bottom, left:right] += 1
    assert (found.places == places).all()
    assert (found.images, found.errors, found.objects, found.regions) == (52, 1, 100, 150)
    assert found.dense_fallbacks == 25
    instances = [s for row in good for s in row["segments"] if s["method"] == "instance"]
    assert found.instances == len(instances) == 8
    sums = {
        "object_score": [row["segments"][0]["score"] for row in good],
        "object_share": [row["segments"][0]["area"] / (WIDTH * HEIGHT) for row in good],
        "regions": [3] * 50,
        "instances": [0] * 48 + [3, 2, 3],
        "instance_score": [instance["score"] for instance in instances],
        "megapixels": [WIDTH * HEIGHT / 1e6] * 51,
        "fiedler": [row["eigenvalues"][1] for row in good],
    }
    for name, values in sums.items():
        expected = Histogram(found.histograms[name].edges)
        expected.add(np.array(values, dtype=np.float32).astype(np.float64))
        assert found.histograms[name].counts.tolist() == expected.counts.tolist(), name


def test_images_without_instances_do_not_count_where_none_were_looked_for() -> None:
    found = gather([table_of([good_row("a.png")])], samples=1, methods=["objects", "regions"])
    assert found.histograms["instances"].total == 0


@pytest.mark.parametrize("samples", [0, 1, 2, 7, 30, 100])
@pytest.mark.parametrize("several", [0, 1, 3, 40])
def test_the_gallery_is_the_sample_but_for_images_with_several_instances(
    samples: int, several: int
) -> None:
    rows = [with_instances(good_row(f"{i}.png"), 2 if i < several else i % 2) for i in range(60)]
    tables = [table_of(rows[i : i + 16]) for i in range(0, 60, 16)]
    found = gather(tables, samples, ["instances"])
    shown = [row["key"] for row in found.gallery]
    assert len(set(shown)) == len(shown) == min(samples, 60)
    crowded = {row["key"] for row in rows[:several]}
    assert len(crowded & set(shown)) >= min(several, SEVERAL, samples // 2)
    added, drawn = [row["key"] for row in found.added], [row["key"] for row in found.sample.rows]
    assert shown[: len(added)] == added and crowded >= set(added)
    kept = shown[len(added) :]
    assert kept == [key for key in drawn if key in kept]
    assert crowded.isdisjoint(set(drawn) - set(kept))
    assert [row["key"] for row in gather(tables[::-1], samples, ["instances"]).gallery] == shown


@pytest.mark.parametrize("size", [(HEIGHT, WIDTH), (20, 32), (7, 9)])
def test_the_mask_of_a_thumbnail_takes_the_pixels_under_its_centres(size: tuple[int, int]) -> None:
    for segment in good_row("a.png")["segments"]:
        full = coco_mask.decode(segment["rle"])
        expected = [
            [
                full[int((y + 0.5) * HEIGHT / size[0]), int((x + 0.5) * WIDTH / size[1])]
                for x in range(size[1])
            ]
            for y in range(size[0])
        ]
        assert segment_mask(segment, size).tolist() == np.array(expected, dtype=bool).tolist()


def test_the_object_stands_out_and_the_others_are_fainter() -> None:
    objects = good_row("a.png")["segments"][:2]
    grey = np.full((HEIGHT, WIDTH, 3), 120, dtype=np.uint8)
    picture = object_overlay(grey, objects, WIDTH).astype(int)
    warmth = picture[..., 0] - picture[..., 2]
    main, other = (segment_mask(segment, (HEIGHT, WIDTH)) for segment in objects)
    rest = ~main & ~other
    assert np.median(warmth[main]) > np.median(warmth[other]) > np.median(warmth[rest]) == 0


def test_regions_differ_in_colour_and_the_background_is_grey() -> None:
    regions = good_row("a.png")["segments"][2:]
    photograph = np.full((HEIGHT, WIDTH, 3), 120, dtype=np.uint8)
    picture = region_overlay(photograph, regions)
    colours = [
        tuple(np.median(picture[segment_mask(region, (HEIGHT, WIDTH))], axis=0))
        for region in regions
    ]
    assert len(set(colours[0])) == 1
    assert len(set(colours)) == 3


def instances_of(*masks: NDArray[np.bool_]) -> list[Row]:
    encoded = [coco_mask.encode(np.asfortranarray(mask, np.uint8)) for mask in masks]
    return [{"index": i, "score": 0.3 / (i + 1), "rle": rle} for i, rle in enumerate(encoded)]


def test_an_instance_has_a_colour_of_its_own_whoever_is_beside_it() -> None:
    squares = np.kron(np.arange(6).reshape(2, 3), np.ones((120, 120), int))
    instances = instances_of(*(squares == i for i in range(6)))
    photograph = np.full((240, 360, 3), 120, dtype=np.uint8)
    together = instance_overlay(photograph, instances)
    colours = [tuple(np.median(together[squares == i], axis=0)) for i in range(6)]
    assert len(set(colours)) == 6
    alone = instance_overlay(photograph, instances[4:5])
    assert np.array_equal(alone[squares == 4], together[squares == 4])
    nobody = instance_overlay(photograph, [])
    assert np.array_equal(alone[squares == 0], nobody[squares == 0])
    assert nobody.max() < 120


def test_colours_of_a_dozen_instances_lie_far_apart_and_those_of_neighbours_farther() -> None:
    lab = skimage.color.rgb2lab(np.array([instance_colour(i) for i in range(12)]) / 255)
    distances = np.linalg.norm(lab[:, None] - lab, axis=2)
    assert distances[~np.eye(12, dtype=bool)].min() > 25
    assert np.diagonal(distances, 1).min() > 75


def test_ink_is_readable_on_the_colour_of_every_instance() -> None:
    """At the contrast that WCAG asks of small text."""
    colours = np.array([instance_colour(i) for i in range(200)]) / 255
    linear = np.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4)
    luminance = linear @ (0.2126, 0.7152, 0.0722)
    assert ((luminance + 0.05) / (0.01 + 0.05)).min() > 4.5


def test_a_label_lies_where_an_instance_is_thickest_and_above_a_small_one() -> None:
    y, x = np.mgrid[:240, :480]
    ball, pea = np.hypot(y - 120, x - 100) < 80, np.hypot(y - 120, x - 400) < 6
    picture = instance_overlay(np.zeros((240, 480, 3), np.uint8), instances_of(ball, pea))
    y, x = np.nonzero((picture > 250).all(axis=2))  # the scores are the only white
    ball_y, ball_x = y[x < 200], x[x < 200]
    pea_y, pea_x = y[x >= 200], x[x >= 200]
    assert abs(ball_y.mean() - 120) < 4 and 100 < ball_x.mean() < 125
    assert 90 < pea_y.mean() < 114 and 400 < pea_x.mean() < 425


def test_labels_do_not_cover_each_other() -> None:
    photograph = np.zeros((240, 480, 3), np.uint8)
    specks = [np.zeros((240, 480), bool) for _ in range(9)]
    for i, speck in enumerate(specks):
        speck[120, 200 + i] = True
    scores = [
        (instance_overlay(photograph, instances_of(*specks[:count])) > 250).all(axis=2)
        for count in range(1, 10)
    ]
    assert scores[0].any()
    for fewer, more in pairwise(scores):
        assert (more >= fewer).all()


@pytest.mark.parametrize("size", [(1, 1), (3, 40), (40, 30)])
def test_a_label_never_hides_a_small_picture(size: tuple[int, int]) -> None:
    photograph = np.full((*size, 3), 200, dtype=np.uint8)
    picture = instance_overlay(photograph, instances_of(np.ones(size, dtype=bool)))
    assert np.ptp(picture, axis=(0, 1)).max() == 0
    assert picture.shape == photograph.shape and (picture != photograph).any()


def test_the_colours_of_an_eigenvector_follow_its_sign() -> None:
    picture = heat_map(np.array([[-1.0, 0.0, 1.0]])).astype(int)[0]
    assert picture[0, 2] > picture[0, 0]  # violet
    assert np.ptp(picture[1]) < 6  # white
    assert picture[2, 0] > picture[2, 2]  # orange
    assert (heat_map(np.zeros((2, 3))) == heat_map(np.zeros((2, 3)))[0, 0]).all()


def test_a_map_of_counts_is_opaque_where_there_are_most() -> None:
    assert density_map(np.array([[0, 1, 4]]))[0, :, 3].tolist() == [0, 63, 255]
    assert not density_map(np.zeros((2, 2), dtype=np.int64))[..., 3].any()


@pytest.mark.parametrize("size", [(1, 1), (1, 50_000), (50_000, 3), (479, 480), (4000, 6000)])
def test_a_thumbnail_is_at_most_480_pixels_and_never_larger_than_the_image(
    size: tuple[int, int],
) -> None:
    height, width = thumbnail_size(*size)
    assert 1 <= height <= min(480, size[0]) and 1 <= width <= min(480, size[1])


def test_a_card_without_regions_has_no_picture_of_them() -> None:
    row = good_row("a.png")
    row["segments"] = row["segments"][:2]
    card = draw(row).card
    assert (card.objects, card.regions) == (2, 0)
    assert set(card.pictures) == {"patches", "object"}


def test_a_card_of_instances_alone_has_the_picture_of_these_alone() -> None:
    row = good_row("a.png", eigenvectors=False) | {"segments": []}
    assert draw(row).card.pictures == {}
    card = draw(with_instances(row, 3)).card
    assert (card.objects, card.regions, card.instances) == (0, 0, 3)
    assert set(card.pictures) == {"instances"}


def draw(row: Row) -> Drawing:
    configuration = run_record(1)["configuration"]
    return draw_card(table_of([row]).to_pylist()[0], None, configuration, cutouts=None)


def test_the_object_is_drawn_as_the_eigenvectors_give_it_and_as_it_was_refined() -> None:
    rows, columns = GRID
    fiedler = np.where(np.arange(columns) < 2, 1.0, -1.0)  # positive in the two left columns
    vectors = np.ones((2, rows, columns))
    vectors[1] = fiedler
    row = good_row("a.png") | {"eigenvectors": vectors.ravel().astype(np.float16)}
    drawing = draw(row)
    pictures = {kind: drawing.files[name] for kind, name in drawing.card.pictures.items()}
    patches, refined = (warmth(pictures[kind]) for kind in ("patches", "object"))
    assert patches.shape == refined.shape == (HEIGHT, WIDTH)
    main = segment_mask(row["segments"][0], (HEIGHT, WIDTH))
    inner = slice(4, HEIGHT - 4), slice(4, 2 * PATCH - 4)  # not the frame of the box
    assert patches[inner].min() > 20 > patches[:, 2 * PATCH + 4 :].max()
    assert np.median(refined[main]) > 20


def warmth(picture: bytes) -> NDArray[np.int64]:
    pixels = np.asarray(Image.open(io.BytesIO(picture))).astype(np.int64)
    return pixels[..., 0] - pixels[..., 2]


@pytest.mark.parametrize(
    ("size", "image_size", "spectral", "connectivity"),
    [
        ((100, 151), None, SpectralConfig(), 8),
        ((47, 61), None, SpectralConfig(), 8),
        ((130, 201), 96, SpectralConfig(), 4),
        ((300, 90), 64, SpectralConfig(downsample_factor=8), 8),
        ((70, 70), None, SpectralConfig(eigenvectors=2, downsample_factor=5), 8),
    ],
)
def test_objects_before_refinement_are_those_of_a_run_that_refines_nothing(
    size: tuple[int, int],
    image_size: int | None,
    spectral: SpectralConfig,
    connectivity: Connectivity,
) -> None:
    config = SegmentConfig(
        input="",
        output="",
        keep=("eigenvectors",),
        images=ImageConfig(image_size=image_size),
        spectral=spectral,
        objects=ObjectConfig(connectivity),
        refinement=RefineConfig(refine="none"),
    )
    scene = Image.fromarray(skimage.data.astronaut()).resize(size[::-1])
    seen = scene.resize(resized_size(*size, image_size)[::-1])
    image = prepare("a.png", DecodedImage(np.asarray(seen), *size))
    (row,) = table_of(Engine(config, DescriptorBackbone(), "cpu")([image])).to_pylist()
    expected = [segment for segment in row["segments"] if segment["method"] == "object"]
    found = raw_objects(row, asdict(config))
    assert [segment["rle"] for segment in found] == [segment["rle"] for segment in expected]
    assert [segment["bbox"] for segment in found] == [segment["bbox"] for segment in expected]
    scores = [segment["score"] for segment in expected]
    assert [segment["score"] for segment in found] == pytest.approx(scores, abs=1e-3)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"refine": "fast", "refine_size": None}, "fast CRF, short side 480 px"),
        ({"refine": "crf", "refine_size": 640}, "exact CRF, short side 640 px"),
        ({"refine": "none", "refine_size": 640}, None),
    ],
)
def test_the_refinement_is_stated_with_its_method_and_size(
    settings: dict[str, object], words: str | None
) -> None:
    assert refinement({"images": {"image_size": 480}, "refinement": settings}) == words


def test_a_run_of_before_there_was_refinement_was_not_refined() -> None:
    assert refinement({"images": {"image_size": 480}}) is None


def test_charts_of_the_same_figures_are_the_same_text_in_the_colours_of_the_page() -> None:
    histogram = Histogram(np.linspace(0, 1, 11))
    histogram.add(np.array([0.2, 0.4]))
    names = ["object_score", "object_share", "regions", "instances", "instance_score"]
    names += ["primaps", "megapixels", "fiedler"]
    charts = draw_charts(dict.fromkeys(names, histogram))
    assert charts == draw_charts(dict.fromkeys(names, histogram))
    for chart in charts:
        assert "var(--accent)" in chart.svg and "#010101" not in chart.svg
    assert draw_charts(dict.fromkeys(names, Histogram(np.array([0.0, 1.0])))) == []
