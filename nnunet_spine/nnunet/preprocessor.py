"""The documented preprocessing inside nnU-Net's pipeline.

Gamma, bias correction and scaling take the place of nnU-Net's normalisation,
and the resize to the common grid that of its resampling. Padding is not done
here: nnU-Net's export stretches the whole preprocessed array back onto the
original image, so padding would be stretched along. The loader pads in
training and nnU-Net's predictor pads in prediction, both to the same grid.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from nnunetv2.preprocessing.cropping.cropping import crop_to_nonzero
from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor

from nnunet_spine.errors import BadInput, GeometryMismatch
from nnunet_spine.nnunet.configuration import adopt
from nnunet_spine.nnunet.image_io import check_one_grid
from nnunet_spine.nnunet.plans_check import read_dataset_json
from nnunet_spine.preprocessing.geometry import fitted_shape
from nnunet_spine.preprocessing.pipeline import SETTINGS_KEY, IntensitySettings, normalise

Array = npt.NDArray[Any]


def _content(dataset_json: Any) -> Any:
    """A description of a data set, for which nnU-Net also gives the name of its file."""
    return read_dataset_json(Path(dataset_json)) if isinstance(dataset_json, str) else dataset_json


class SpinePreprocessor(DefaultPreprocessor):
    """Crop, gamma, bias, scale, resize; named in our plans, called by nnU-Net."""

    def run_case(
        self,
        image_files: list[str],
        seg_file: str | None,
        plans_manager: Any,
        configuration_manager: Any,
        dataset_json: Any,
    ) -> tuple[Array, Array, dict[str, Any]]:
        """Read and preprocess one case, turned to the orientation of the plans' data set.

        Parameters and results are those of `run_case_npy`, with files for arrays.

        Raises
        ------
        NotFound, BadInput
            If a file cannot be read, or the image cannot be turned.
        GeometryMismatch
            If image and reference are not on one grid.
        """
        adopt(plans_manager, configuration_manager)
        reader = plans_manager.image_reader_writer_class()
        image, properties = reader.read_images(image_files)
        reference = None
        if seg_file is not None:
            reference, drawn = reader.read_seg(seg_file)
            check_one_grid(image, properties, reference, drawn)
        return self.run_case_npy(
            image, reference, properties, plans_manager, configuration_manager, _content(dataset_json)
        )

    def run_case_npy(
        self,
        data: Array,
        seg: Array | None,
        properties: dict[str, Any],
        plans_manager: Any,
        configuration_manager: Any,
        dataset_json: Any,
    ) -> tuple[Array, Array, dict[str, Any]]:
        """Preprocess one case.

        Parameters
        ----------
        data
            Image, shape (channel, z, y, x) in the order of nnU-Net's reader.
        seg
            Reference of shape (1, z, y, x), or None for an image to be predicted.
        properties
            nnU-Net's notes on the case, `spacing` among them; those that its export needs are added.
        plans_manager, configuration_manager, dataset_json
            As nnU-Net passes them.

        Returns
        -------
        data, seg, properties
            Image float32, reference int8 with -1 outside the body, and the properties.
        """
        if data.shape[0] != 1:
            raise BadInput(
                f"The case has {data.shape[0]} channels; the documented protocol reads one, post-contrast T1."
            )
        if seg is not None and seg.shape[1:] != data.shape[1:]:
            raise GeometryMismatch(
                f"The image has {data.shape[1:]} voxels and its reference {seg.shape[1:]} (z, y, x). "
                "Convert the case again with `nnunet-spine convert`."
            )
        order = [0, *[axis + 1 for axis in plans_manager.transpose_forward]]
        image = data.astype(np.float32).transpose(order)
        label = None if seg is None else seg.copy().transpose(order)
        spacing_mm = [properties["spacing"][axis] for axis in plans_manager.transpose_forward]

        properties["shape_before_cropping"] = image.shape[1:]
        image, label, properties["bbox_used_for_cropping"] = crop_to_nonzero(image, label)
        properties["shape_after_cropping_and_before_resampling"] = image.shape[1:]

        settings = IntensitySettings.from_json(configuration_manager.configuration[SETTINGS_KEY])
        image = normalise(image[0], spacing_mm, settings)[None]
        shape = fitted_shape(image.shape[1:], configuration_manager.patch_size)
        new_spacing_mm = [s * old / new for s, old, new in zip(spacing_mm, image.shape[1:], shape, strict=True)]
        image = configuration_manager.resampling_fn_data(image, shape, spacing_mm, new_spacing_mm)
        label = configuration_manager.resampling_fn_seg(label, shape, spacing_mm, new_spacing_mm)
        # A cubic spline overshoots at edges; the documented range is closed.
        image = np.clip(image, settings.scale_minimum, settings.scale_maximum).astype(np.float32, copy=False)

        if seg is not None:
            labels = plans_manager.get_label_manager(dataset_json).foreground_labels
            properties["class_locations"] = self._sample_foreground_locations(label, labels, verbose=self.verbose)
        return image, label.astype(np.int8), properties
