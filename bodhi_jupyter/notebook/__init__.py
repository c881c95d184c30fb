"""The kernel's side."""
