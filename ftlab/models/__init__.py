"""Base models: where they come from, how they are loaded, and the one place that applies a chat template."""
