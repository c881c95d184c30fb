"""Ollama's API, ``/api/*``."""
