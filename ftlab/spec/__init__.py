"""Read, validate and resolve a spec. No torch here: `validate` answers at once."""
