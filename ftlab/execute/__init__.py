"""Executing runs: stages that are computed once, attempts, workers, and the coordinator that drives them."""
