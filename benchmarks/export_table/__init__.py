"""What `benchmarks/exports.py` is made of."""
