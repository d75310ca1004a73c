"""Command-line scripts, thin over `core`, `models` and `adapters`."""
