"""Where models run: configured servers, and engines of our own."""
