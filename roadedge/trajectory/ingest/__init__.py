"""Files of points of any size → one store, in bounded memory."""
