"""A documented protocol for segmenting intradural spine tumours, as a plugin for nnU-Net v2."""

__version__ = "0.1.0"
