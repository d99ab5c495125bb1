"""Procedural street scenes: an image and its exact label map from a seed, without any data set.

`stage` holds camera, light and the canvas; `surroundings`, `furniture`, `vehicles` and `people`
paint one kind of thing each; `street` lays a street out, has it painted from far to near and
finishes the picture as a camera would.
"""
