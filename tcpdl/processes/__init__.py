"""Several processes that serve the same ports: the parent, which opens them, and its workers."""
