"""A trained network as a file that runs without seg-engine."""
