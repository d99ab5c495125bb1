"""Data sets that can be fetched by one command: where they are, how they come here, what is kept of it."""
