"""Who is next and how many: a file a policy."""
