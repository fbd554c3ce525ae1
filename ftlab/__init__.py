"""ftlab: prompt it, LoRA it, or fine-tune all of it? One YAML file in, one honest answer out."""

__version__ = "0.1.0"
