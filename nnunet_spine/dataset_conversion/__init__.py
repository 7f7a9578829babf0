"""From DICOM, NIfTI, NRRD or MHA to a raw data set of nnU-Net with folds and a manifest."""
