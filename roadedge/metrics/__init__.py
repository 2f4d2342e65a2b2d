"""How good a mask is: counts of pixels, scores made of them, and how sure they are."""
