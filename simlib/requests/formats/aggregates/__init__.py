"""Files without a row a request: they say what is missing, and what can be done with them."""
