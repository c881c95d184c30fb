"""Which models there are, and what a name stands for."""
