"""CalcJobs and calculation functions."""
