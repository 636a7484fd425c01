"""Proves that a folder computes what CoreNet does. Never imports `mapping`: its faults must not reach both sides."""
