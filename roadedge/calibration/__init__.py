"""Calibration: INT8 ranges from the train split. Empty until quantization is built."""
