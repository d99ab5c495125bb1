"""Videos and raw streams of frames in and out, without torch. Files need PyAV, the extra `video`."""
