"""The documented preprocessing as pure functions on arrays."""
