"""The records of runs in the formats of other programs."""
