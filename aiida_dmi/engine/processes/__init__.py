"""Processes: workers and ranks, their memory, what the user sees of them."""
