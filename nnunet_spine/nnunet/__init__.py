"""The only place that touches nnU-Net's internals.

Nothing here is imported on `import nnunet_spine.nnunet`: the modules that need
nnunetv2 or torch import them, and `environment` needs neither.
"""
