"""The documented network."""
