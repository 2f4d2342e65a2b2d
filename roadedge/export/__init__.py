"""Checkpoints → files that run on a device, each checked against the network that it was made from."""

from roadedge.export.exporter import DynamicSize, ExportResult, export_model, parse_dynamic, parse_size

__all__ = ["DynamicSize", "ExportResult", "export_model", "parse_dynamic", "parse_size"]
