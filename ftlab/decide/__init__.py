"""Statistics, gates and costs become one DecisionView, which every surface reads. No torch here."""
