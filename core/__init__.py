"""Numbers only: state keys, transition tables, dynamic programs. `core.dp` is the public face."""
