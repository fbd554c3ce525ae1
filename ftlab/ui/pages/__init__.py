"""One module per page, each with one function that draws it."""
