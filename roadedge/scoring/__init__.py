"""Files against files: masks, probabilities and road graphs scored tile by tile, with pictures of what went wrong."""

from roadedge.scoring.report import ScoreResult
from roadedge.scoring.run import score_files
from roadedge.scoring.settings import ScoreSettings
from roadedge.scoring.show import print_scores

__all__ = ["ScoreResult", "ScoreSettings", "print_scores", "score_files"]
