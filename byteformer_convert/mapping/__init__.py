"""Translates from CoreNet's vocabulary to the folder's. Pure: reads no file, writes none."""
