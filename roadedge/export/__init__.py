"""Checkpoints → files that run on a device, each checked against the network that it was made from."""

from roadedge.export.exporter import (
    DynamicSize,
    ExportResult,
    asked_precision,
    export_model,
    parse_dynamic,
    parse_size,
)

__all__ = ["DynamicSize", "ExportResult", "asked_precision", "export_model", "parse_dynamic", "parse_size"]
