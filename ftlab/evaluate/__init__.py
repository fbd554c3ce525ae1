"""Predictions, scores and benchmarks. Modules here import torch and lm-eval inside functions only."""
