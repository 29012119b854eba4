"""What to deploy: a plan, and how good such plans are."""
