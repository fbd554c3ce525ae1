"""How a model is adapted: one file per family, each a plug-in of the catalogue."""
