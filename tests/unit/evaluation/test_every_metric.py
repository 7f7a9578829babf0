"""Every metric against an independent implementation, on 200 random pairs of masks and 30 made by hand."""

import functools
import itertools
import math

import numpy as np
import pytest
import SimpleITK as sitk
import surface_distance
import torch
from monai.metrics.surface_dice import compute_surface_dice
from monai.metrics.utils import get_edge_surface_distance

from nnunet_spine.evaluation.measures import score_case
from nnunet_spine.evaluation.policy import VERDICTS, MaskState
from nnunet_spine.protocol import Criterion

THICK = (4.0, 0.5, 0.5)
SHAPE = (6, 12, 12)
OVERLAPS = ("dice", "iou", "precision", "recall")


def box(z, y, x, shape=SHAPE):
    mask = np.zeros(shape, bool)
    mask[slice(*z), slice(*y), slice(*x)] = True
    return mask


EMPTY = np.zeros(SHAPE, bool)
FULL = np.ones(SHAPE, bool)
BLOCK = box((1, 4), (3, 8), (3, 8))
VOXEL = box((2, 3), (5, 6), (5, 6))
LEFT, RIGHT = box((1, 4), (3, 6), (0, 4)), box((1, 4), (3, 6), (8, 12))
CORNER = box((0, 1), (0, 1), (0, 1))
RING = BLOCK & ~box((1, 4), (4, 7), (4, 7))

BY_HAND = {
    "both empty": (EMPTY, EMPTY),
    "empty prediction": (BLOCK, EMPTY),
    "empty reference": (EMPTY, BLOCK),
    "empty reference, two predicted": (EMPTY, LEFT | RIGHT),
    "empty prediction, one voxel missed": (VOXEL, EMPTY),
    "one voxel, found": (VOXEL, VOXEL),
    "one voxel, one slice away": (VOXEL, box((3, 4), (5, 6), (5, 6))),
    "one voxel, one column away": (VOXEL, box((2, 3), (5, 6), (6, 7))),
    "one voxel, corner to corner": (VOXEL, box((3, 4), (6, 7), (6, 7))),
    "one voxel within a block": (BLOCK, VOXEL),
    "a block around one voxel": (VOXEL, BLOCK),
    "identical": (BLOCK, BLOCK),
    "identical, whole image": (FULL, FULL),
    "identical, two lesions": (LEFT | RIGHT, LEFT | RIGHT),
    "touching the border": (box((0, 3), (0, 5), (0, 5)), box((0, 2), (0, 6), (0, 5))),
    "touching the far border": (box((3, 6), (8, 12), (8, 12)), box((4, 6), (7, 12), (8, 12))),
    "whole image against a block": (BLOCK, FULL),
    "corners of the image": (CORNER, CORNER[::-1, ::-1, ::-1]),
    "disjoint": (LEFT, RIGHT),
    "disjoint, side by side": (box((1, 4), (3, 6), (3, 6)), box((1, 4), (3, 6), (6, 9))),
    "two lesions merged in one": (LEFT | RIGHT, box((1, 4), (3, 6), (0, 12))),
    "one lesion split in two": (box((1, 4), (3, 6), (0, 12)), LEFT | RIGHT),
    "one of two lesions found": (LEFT | RIGHT, LEFT),
    "found, and a false positive": (LEFT, LEFT | RIGHT),
    "found, and two false positives": (BLOCK, BLOCK | CORNER | CORNER[::-1, ::-1, ::-1]),
    "one slice thick": (box((2, 3), (3, 8), (3, 8)), box((2, 3), (4, 9), (3, 8))),
    "one slice too many": (BLOCK, box((1, 5), (3, 8), (3, 8))),
    "a ring": (RING, BLOCK),
    "a block in a ring": (RING, box((1, 4), (5, 6), (5, 6))),
    "voxels that touch at corners": (VOXEL | box((3, 4), (6, 7), (6, 7)), VOXEL),
}


def random_pairs():
    for seed in range(200):
        random = np.random.default_rng(seed)
        shape = tuple(random.integers(2, 13, 3))
        spacing = tuple(float(s) for s in random.uniform(0.3, 4.0, 3)) if seed % 4 else THICK
        if seed % 2:  # speckle of any density
            pair = random.random((2, *shape)) < random.uniform(0.02, 0.9, (2, 1, 1, 1))
        else:  # balls, cut by the border where they like
            grid = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1)
            pair = np.stack([np.linalg.norm(grid - random.uniform(0, shape), axis=-1) < r for r in (3.3, 2.6)])
        yield f"random {seed}", pair[0], pair[1], spacing


PAIRS = [*[(name, *pair, THICK) for name, pair in BY_HAND.items()], *random_pairs()]


def score(reference, prediction, spacing, criterion=Criterion.ANY_OVERLAP):
    states = [MaskState.PRESENT if mask.any() else MaskState.EMPTY for mask in (reference, prediction)]
    return score_case(reference, prediction, spacing, verdict=VERDICTS[tuple(states)], criterion=criterion)


@functools.cache
def scored(name):
    """Scores of one of the pairs by the default criterion."""
    return score(*next(pair[1:] for pair in PAIRS if pair[0] == name))


def values(scores):
    return {"dice": scores.dice, **scores.measures.to_json()}


def image(mask, spacing, direction=None):
    made = sitk.GetImageFromArray(mask.astype(np.uint8))
    made.SetSpacing(spacing[::-1])
    if direction is not None:
        made.SetDirection(direction)
    return made


def both_present(pairs):
    return [pair for pair in pairs if pair[1].any() and pair[2].any()]


def test_there_are_200_and_30_pairs():
    assert len(BY_HAND) == 30
    assert len(PAIRS) == 230
    assert len(both_present(PAIRS)) > 210


def test_overlap_is_simpleitks():
    for name, reference, prediction, spacing in both_present(PAIRS):
        measure = sitk.LabelOverlapMeasuresImageFilter()
        measure.Execute(image(prediction, spacing), image(reference, spacing))
        swapped = sitk.LabelOverlapMeasuresImageFilter()
        swapped.Execute(image(reference, spacing), image(prediction, spacing))
        expected = {
            "dice": measure.GetDiceCoefficient(),
            "iou": measure.GetJaccardCoefficient(),
            "recall": 1 - measure.GetFalseNegativeError(),
            "precision": 1 - swapped.GetFalseNegativeError(),
        }
        found = values(scored(name))
        assert {n: found[n] for n in OVERLAPS} == pytest.approx({n: expected[n] for n in OVERLAPS}, abs=1e-12), name


def test_volumes_are_simpleitks():
    for name, reference, prediction, spacing in PAIRS:
        volumes = []
        for mask in (reference, prediction):
            shape = sitk.LabelShapeStatisticsImageFilter()
            shape.Execute(image(mask, spacing))
            volumes.append(shape.GetPhysicalSize(1) / 1000 if mask.any() else 0.0)
        found = scored(name).measures.volume_difference_ml
        assert found == pytest.approx(volumes[1] - volumes[0], abs=1e-9), name


def test_centroid_distance_is_simpleitks_in_an_oblique_image():
    turn = math.radians(35)
    oblique = (math.cos(turn), -math.sin(turn), 0, math.sin(turn), math.cos(turn), 0, 0, 0, 1)
    for name, reference, prediction, spacing in both_present(PAIRS):
        centroids = []
        for mask in (reference, prediction):
            shape = sitk.LabelShapeStatisticsImageFilter()
            shape.Execute(image(mask, spacing, oblique))
            centroids.append(np.array(shape.GetCentroid(1)))
        found = scored(name).measures.centroid_distance_mm
        assert found == pytest.approx(np.linalg.norm(centroids[0] - centroids[1]), abs=1e-6), name


def weighted_percentile(distances, areas, share=0.95):
    """The smallest distance within which that share of the area lies."""
    total, so_far = math.fsum(areas), 0.0
    for distance, area in sorted(zip(distances, areas, strict=True)):
        so_far += area
        if so_far >= share * total * (1 - 1e-6):
            return distance
    return distances[-1]


def monai_hd95(reference, prediction, spacing):
    """From MONAI's surface elements, in 32 bits, with the percentile written out here."""
    pair = [torch.from_numpy(m.astype(np.float32)) for m in (prediction, reference)]
    edges, distances, areas = get_edge_surface_distance(*pair, spacing=spacing, use_subvoxels=True, symmetric=True)
    parts = [weighted_percentile(d.tolist(), a[e].tolist()) for e, d, a in zip(edges, distances, areas, strict=True)]
    return max(parts)


def test_hd95_is_monais_surface_with_its_areas():
    for name, reference, prediction, spacing in both_present(PAIRS):
        found = scored(name).measures.hd95_mm
        assert found == pytest.approx(monai_hd95(reference, prediction, spacing), abs=1e-4), name


def test_hd95_and_nsd_are_those_of_the_tool_by_itself():
    for name, reference, prediction, spacing in both_present(PAIRS):
        distances = surface_distance.compute_surface_distances(reference, prediction, spacing)
        nsds = [surface_distance.compute_surface_dice_at_tolerance(distances, t + 1e-6) for t in (1.0, 2.0)]
        expected = [surface_distance.compute_robust_hausdorff(distances, 95), *nsds]
        measures = scored(name).measures
        assert [measures.hd95_mm, measures.nsd_1mm, measures.nsd_2mm] == pytest.approx(expected, abs=1e-9), name


def test_nsd_is_monais():
    for name, reference, prediction, spacing in both_present(PAIRS):
        pair = [torch.from_numpy(m[None, None].astype(np.float32)) for m in (prediction, reference)]
        expected = [
            compute_surface_dice(*pair, [t], include_background=True, spacing=spacing, use_subvoxels=True).item()
            for t in (1.0, 2.0)
        ]
        measures = scored(name).measures
        assert [measures.nsd_1mm, measures.nsd_2mm] == pytest.approx(expected, abs=1e-5), name


def test_hd95_never_exceeds_simpleitks_hausdorff_distance_of_the_same_surface_points():
    """The points are the corners of voxels between the mask and what is outside of it."""
    for name, reference, prediction, spacing in both_present(PAIRS):
        corners = []
        for mask in (reference, prediction):
            padded = np.pad(mask, 1).astype(int)
            around = sum(
                padded[tuple(slice(o, n - 1 + o) for o, n in zip(offset, padded.shape, strict=True))]
                for offset in itertools.product((0, 1), repeat=3)
            )
            corners.append(image((around > 0) & (around < 8), spacing))
        hausdorff = sitk.HausdorffDistanceImageFilter()
        hausdorff.Execute(*corners)
        found = scored(name).measures.hd95_mm
        assert found <= hausdorff.GetHausdorffDistance() + 1e-4, name


def components(mask):
    """Sets of voxels, by SimpleITK, diagonal neighbours connected."""
    labels = sitk.GetArrayFromImage(sitk.ConnectedComponent(image(mask, (1, 1, 1)), True))
    return [set(map(tuple, np.argwhere(labels == k))) for k in range(1, labels.max() + 1)]


def centroid_lies_in(component, lesion):
    centre = [sum(axis) / len(component) for axis in zip(*component, strict=True)]
    return any(all(abs(c - v) <= 0.5 for c, v in zip(centre, voxel, strict=True)) for voxel in lesion)


def detects(criterion, component, lesion):
    if criterion is Criterion.CENTROID_INSIDE:
        return centroid_lies_in(component, lesion)
    least = {Criterion.ANY_OVERLAP: 1e-12, Criterion.IOU_01: 0.1, Criterion.IOU_05: 0.5}[criterion]
    return len(component & lesion) / len(component | lesion) >= least


@pytest.mark.parametrize("criterion", Criterion)
def test_lesions_are_those_of_simpleitk_and_sets(criterion):
    for name, reference, prediction, spacing in PAIRS[:130]:
        lesions, predicted = components(reference), components(prediction)
        everything = set().union(*lesions)
        false = [c for c in predicted if not c & everything]
        found = score(reference, prediction, spacing, criterion)
        m = found.measures
        assert (m.reference_lesions, m.predicted_lesions) == (len(lesions), len(predicted)), name
        assert m.detected_lesions == sum(any(detects(criterion, c, r) for c in predicted) for r in lesions), name
        assert m.false_positive_components == len(false), name
        assert m.false_positive_volume_ml == pytest.approx(sum(map(len, false)) * math.prod(spacing) / 1000), name
        whole = set().union(*predicted)
        if criterion is Criterion.CENTROID_INSIDE:
            expected = m.detected_lesions > 0
        else:
            expected = bool(whole) and detects(criterion, whole, everything)
        assert found.detected == (expected if lesions else None), name


# (reference, prediction) by name, then values worked out on paper; a voxel is 4 x 0.5 x 0.5 mm, or 0.001 ml.
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("identical", {"dice": 1, "iou": 1, "hd95_mm": 0, "nsd_1mm": 1, "centroid_distance_mm": 0}),
        # Half of the eight corners of the voxel are shared, the others are a slice apart.
        ("one voxel, one slice away", {"dice": 0, "hd95_mm": 4, "nsd_1mm": 0.5, "nsd_2mm": 0.5}),
        ("one voxel, one column away", {"hd95_mm": 0.5, "nsd_1mm": 1, "centroid_distance_mm": 0.5}),
        ("one voxel, one column away", {"volume_difference_ml": 0, "lesion_sensitivity": 0, "lesion_precision": 0}),
        # 75 voxels and one of them; (7 - 3) / 2 + 3 = 5 is the middle of the block.
        ("one voxel within a block", {"dice": 2 / 76, "iou": 1 / 75, "precision": 1, "recall": 1 / 75}),
        ("one voxel within a block", {"centroid_distance_mm": 0, "volume_difference_ml": -0.074}),
        # 2 mm from near face to near face, eight columns or 4 mm from far face to the other's far face.
        ("disjoint", {"dice": 0, "hd95_mm": 4, "nsd_1mm": 0, "centroid_distance_mm": 4, "precision": 0, "recall": 0}),
        # 2 x 36 of 108 voxels
        ("two lesions merged in one", {"dice": 144 / 180, "iou": 72 / 108, "recall": 1, "detected_lesions": 2}),
        ("two lesions merged in one", {"reference_lesions": 2, "predicted_lesions": 1, "false_positive_components": 0}),
        ("one lesion split in two", {"detected_lesions": 1, "predicted_lesions": 2, "false_positive_components": 0}),
        ("one of two lesions found", {"dice": 2 * 36 / 108, "lesion_sensitivity": 0.5, "lesion_precision": 1}),
        ("found, and a false positive", {"lesion_precision": 0.5, "false_positive_volume_ml": 0.036}),
        ("voxels that touch at corners", {"reference_lesions": 1, "dice": 2 / 3}),
        ("one slice too many", {"hd95_mm": 4, "recall": 1, "precision": 75 / 100, "centroid_distance_mm": 2}),
        ("empty prediction", {"dice": 0, "iou": 0, "recall": 0, "nsd_1mm": 0, "nsd_2mm": 0, "precision": None}),
        ("empty prediction", {"hd95_mm": None, "centroid_distance_mm": None, "volume_difference_ml": -0.075}),
        ("empty reference", dict.fromkeys((*OVERLAPS, "hd95_mm", "nsd_1mm", "nsd_2mm", "centroid_distance_mm"))),
        ("empty reference", {"volume_difference_ml": 0.075, "false_positive_components": 1, "reference_lesions": 0}),
        ("empty reference, two predicted", {"false_positive_components": 2, "false_positive_volume_ml": 0.072}),
        ("both empty", dict.fromkeys((*OVERLAPS, "hd95_mm", "nsd_1mm", "nsd_2mm", "centroid_distance_mm"))),
        ("both empty", {"volume_difference_ml": 0, "predicted_lesions": 0, "lesion_sensitivity": None}),
    ],
)
def test_by_hand(name, expected):
    found = values(score(*BY_HAND[name], THICK))
    assert {n: found[n] for n in expected} == {n: v if v is None else pytest.approx(v) for n, v in expected.items()}


@pytest.mark.parametrize(
    ("name", "detected"),
    [  # any overlap, IoU >= 0.1, IoU >= 0.5, centroid inside
        ("identical", (True, True, True, True)),
        ("one voxel within a block", (True, False, False, True)),  # IoU 1/75
        ("found, and a false positive", (True, True, True, True)),  # IoU 36/72, exactly 0.5
        ("one of two lesions found", (True, True, True, True)),
        ("two lesions merged in one", (True, True, True, False)),  # its centroid lies between the two
        ("a ring", (True, True, True, False)),  # IoU 48/75; the centroid is in the hole
        ("a block in a ring", (False, False, False, False)),
        ("empty prediction", (False, False, False, False)),
        ("empty reference", (None, None, None, None)),
        ("disjoint, side by side", (False, False, False, False)),
    ],
)
def test_criteria_by_hand(name, detected):
    assert tuple(score(*BY_HAND[name], THICK, criterion).detected for criterion in Criterion) == detected


def test_a_tolerance_holds_spacings_of_32_bits():
    """Four voxels of 0.5 mm and a bit are meant to be 2 mm."""
    spacing = (1.0, 1.0, float(np.float32(0.4)))
    assert 5 * spacing[2] > 2.0
    shape = (1, 1, 12)
    reference, prediction = box((0, 1), (0, 1), (0, 6), shape), box((0, 1), (0, 1), (5, 11), shape)
    assert score(reference, prediction, spacing).measures.nsd_2mm == 1.0


def test_a_missing_prediction_has_no_volume_and_finds_nothing():
    verdict = VERDICTS[MaskState.PRESENT, MaskState.MISSING]
    scores = score_case(LEFT | RIGHT, None, THICK, verdict=verdict, criterion=Criterion.ANY_OVERLAP)
    assert (scores.dice, scores.detected, scores.measures.volume_difference_ml) == (0.0, False, None)
    assert (scores.measures.reference_lesions, scores.measures.detected_lesions) == (2, 0)
