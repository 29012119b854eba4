"""Whether prompts share a step with decodes: what measured kernels say, what is served, and who is late."""
