"""What makes parts of the package, and is no part of it."""
