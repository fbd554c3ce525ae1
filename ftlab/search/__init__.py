"""Searches: arms that are proposed while an experiment runs, from what the earlier ones gave."""
