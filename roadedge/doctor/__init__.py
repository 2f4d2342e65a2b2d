"""`roadedge doctor`: what this machine has for road extraction, what it lacks, and whether a back-end really runs."""

from roadedge.doctor.examination import Examination, examine

__all__ = ["Examination", "examine"]
