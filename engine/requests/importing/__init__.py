"""The records of other programs, made into runs of the task `imported`."""
