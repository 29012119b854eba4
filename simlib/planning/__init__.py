"""What to deploy: from what has to be served and what can serve to the cheapest configuration that meets its limits."""
