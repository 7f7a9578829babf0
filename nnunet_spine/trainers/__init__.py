"""The public trainers by name; the folder that nnU-Net searches (variable nnUNet_extTrainer)."""
