"""What travels: formats, validation, errors. Pure functions and models; no I/O, no clock."""
