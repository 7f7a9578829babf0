import pickle
import struct
import zipfile

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
        (softmax(np.full(SHAPE, np.nan)), "probabilities", r"24 values that are not finite \(NaN or infinity\)"),
        (softmax(np.where(np.arange(24).reshape(SHAPE) == 7, np.inf, 0.5)), "probabilities", "1 values that are not"),
        (np.array([None], object), "probabilities", "belongs to another image"),
        (softmax(np.zeros(SHAPE)).astype(object), "probabilities", "of the type object; expected floating-point"),
        (softmax(np.zeros(SHAPE)).astype(complex), "probabilities", "of the type complex128"),
        (np.zeros((2, *SHAPE), np.uint8), "probabilities", "of the type uint8"),
        (np.zeros((2, *SHAPE), "U3"), "probabilities", "of the type <U3"),
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


@pytest.mark.parametrize("shape", [(2, 100_000, 100_000, 100), (99_999, *SHAPE), (2, -1, 3, 4)])
def test_no_memory_is_taken_for_what_a_header_claims(tmp_path, shape):
    text = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    member = b"\x93NUMPY\x01\x00" + struct.pack("<H", 118) + text.encode()
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as pack:
        pack.writestr("probabilities.npy", member)
    with pytest.raises(BadInput, match="belongs to another image|classes; expected at most"):
        read_tumor_probability(tmp_path / "a.npz", SHAPE)


@pytest.mark.parametrize(
    "kind", ["an array alone", "packed by another method", "a pickle", "no member", "a locked member"]
)
def test_other_kinds_of_files_are_damaged(tmp_path, kind):
    path = save(tmp_path / "a.npz", softmax(np.zeros(SHAPE)))
    content = bytearray(path.read_bytes())
    if kind == "an array alone":
        with path.open("wb") as stream:
            np.save(stream, np.zeros((2, *SHAPE), np.float32))
    elif kind == "packed by another method":  # of the central directory and of the member: 97 is none
        content[content.index(b"PK\x01\x02") + 10] = content[8] = 97
        path.write_bytes(content)
    elif kind == "a pickle":
        path.write_bytes(pickle.dumps({"probabilities": 1}))
    elif kind == "no member":
        with zipfile.ZipFile(path, "w"):
            pass
    else:
        content[content.index(b"PK\x01\x02") + 8] |= 1
        content[6] |= 1
        path.write_bytes(content)
    with pytest.raises(BadInput, match="damaged|no array"):
        read_tumor_probability(path, SHAPE)


def test_the_file_lies_beside_the_segmentation(tmp_path):
    assert probability_file(tmp_path / "case.1.nii.gz") is None
    save(tmp_path / "case.1.npz", np.zeros(1))
    assert probability_file(tmp_path / "case.1.nii.gz") == tmp_path / "case.1.npz"
