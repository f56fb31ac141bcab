"""One parser for each CalcJob."""
