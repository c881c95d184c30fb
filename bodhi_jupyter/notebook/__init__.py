"""The kernel's side: the panel, `chat`, the magics, and the way to the server."""
