"""Screening: from a declarative spec to candidates, to a campaign that runs them, to one table of results."""
