"""The theory: what each quantity is, as coefficients of the occupations of bands."""
