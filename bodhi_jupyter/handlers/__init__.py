"""HTTP in and out: a handler for each route, and what they share."""
