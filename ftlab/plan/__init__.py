"""Expand a spec into runs, name their stages, drop what is done, and estimate the rest. No torch here."""
