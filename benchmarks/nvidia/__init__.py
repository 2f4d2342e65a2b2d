"""The parts of `make gpu`: what is on the machine, files, engines, ways to run a network, times, and the report.

`benchmarks/gpu.py` calls them, each in a process of its own, so that one that crashes or hangs costs its own row alone.
"""
