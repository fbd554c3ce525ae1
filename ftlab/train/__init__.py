"""Training: one function, `ftlab.train.sft.train_sft`, and its parts.

- `sft`: the function.
- `trainer`: TRL's trainer, bent to it.
- `step`: one forward pass. Only the answer's positions are scored, a shared prefix is computed once.
- `collate`: which rows make up which step, and their tensors.
- `callbacks`: what happens between steps: validation, curves, progress, early stopping, the best weights.
- `checkpoint`: checkpoints that verify, so that a killed run resumes as if nothing had happened.
- `meter`: seconds, tokens, memory.
- `quiet`: libraries neither chatter nor leave marks on the base.
"""
