"""What chapters share: a page and its numbers, the figures' style, tables, evidence."""
