"""Calibration: INT8 ranges from the train split, the graphs made with them, and what each layer of them costs."""
