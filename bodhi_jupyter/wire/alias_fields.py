"""The fields of an alias as the routes for aliases answer it."""

from __future__ import annotations

#: What an answer tells besides the alias's own fields: whoever sends an answer back, changed, changes these not.
TOLD = frozenset({"read_only", "modified", "problem", "problem_param"})
