"""Exported networks in use, without torch: ONNX files and what is made of their outputs, in NumPy."""
