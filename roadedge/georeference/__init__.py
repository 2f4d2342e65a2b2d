"""Where a frame lies on the ground: geotransform, telemetry of a drone, tags of photos, or a file about the camera."""
