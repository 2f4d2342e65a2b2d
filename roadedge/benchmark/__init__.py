"""`roadedge benchmark`: a network timed in four scenarios, compared without being fooled, and broken into layers."""
