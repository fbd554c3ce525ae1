"""The command line: `main.py` lists the verbs, each group of verbs has its own module."""

from ftlab.cli.main import main

__all__ = ["main"]
