"""Time taken, counted and reported: clocks, stages, percentiles with their sample counts, verdicts, the report."""
