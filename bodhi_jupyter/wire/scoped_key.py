"""How a scoped key is told from any other."""

from __future__ import annotations

#: What every scoped key starts with, so that people and secret scanners recognise one, and no other is sent here.
PREFIX = "bodhi-"
