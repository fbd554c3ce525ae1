"""One file per family of metrics; `ftlab.catalog.METRICS` names them."""
