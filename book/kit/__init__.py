"""What chapters share: a page and its numbers, the figures' style, names, tables, evidence."""
