import numpy as np
import pytest

from nnunet_spine.errors import BadInput
from nnunet_spine.evaluation.probabilities import probability_file, read_tumor_probability

SHAPE = (2, 3, 4)


def save(path, array, key="probabilities"):
    np.savez_compressed(path, **{key: array})
    return path


def softmax(tumor):
    return np.stack([1 - tumor, tumor]).astype(np.float32)


def test_tumor_is_all_but_the_first_class(tmp_path):
    tumor = np.random.default_rng(0).random(SHAPE)
    np.testing.assert_allclose(
        read_tumor_probability(save(tmp_path / "a.npz", softmax(tumor)), SHAPE), tumor, rtol=1e-6
    )
    three = np.stack([np.full(SHAPE, 0.5), np.full(SHAPE, 0.3), np.full(SHAPE, 0.2)])
    np.testing.assert_allclose(read_tumor_probability(save(tmp_path / "b.npz", three), SHAPE), 0.5)


def test_a_rounding_above_1_is_cut(tmp_path):
    array = softmax(np.full(SHAPE, 1.0)) + np.float32(1e-6)
    assert read_tumor_probability(save(tmp_path / "a.npz", array), SHAPE).max() == 1.0


@pytest.mark.parametrize(
    ("array", "key", "match"),
    [
        (softmax(np.zeros((4, 3, 2))), "probabilities", "belongs to another image"),
        (np.zeros((1, *SHAPE)), "probabilities", "2 or more classes"),
        (np.zeros(SHAPE), "probabilities", "2 or more classes"),
        (softmax(np.zeros(SHAPE)), "softmax", "no array `probabilities`"),
        (softmax(np.full(SHAPE, 3.0)), "probabilities", "outside 0 to 1"),
        (softmax(np.full(SHAPE, np.nan)), "probabilities", "outside 0 to 1"),
        (np.array([None], object), "probabilities", "damaged"),
    ],
)
def test_what_is_unusable_is_named_without_its_path(tmp_path, array, key, match):
    with pytest.raises(BadInput, match=match) as caught:
        read_tumor_probability(save(tmp_path / "a.npz", array, key), SHAPE)
    assert str(tmp_path) not in str(caught.value)


@pytest.mark.parametrize("keep", [0, 10, 100])
def test_a_file_that_breaks_off_is_damaged(tmp_path, keep):
    path = save(tmp_path / "a.npz", softmax(np.random.default_rng(0).random(SHAPE)))
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(BadInput, match="damaged"):
        read_tumor_probability(path, SHAPE)


def test_a_flipped_byte_is_damaged(tmp_path):
    path = save(tmp_path / "a.npz", softmax(np.random.default_rng(0).random((8, 30, 30))))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(BadInput, match="damaged"):
        read_tumor_probability(path, (8, 30, 30))


def test_the_file_lies_beside_the_segmentation(tmp_path):
    assert probability_file(tmp_path / "case.1.nii.gz") is None
    save(tmp_path / "case.1.npz", np.zeros(1))
    assert probability_file(tmp_path / "case.1.nii.gz") == tmp_path / "case.1.npz"
