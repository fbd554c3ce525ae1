"""The user's rows: read, checked, split, and turned into prompts. Light: nothing here imports torch."""
