"""A plan in engines' words; and after deployment: is what was measured inside what it promised, and why not?"""
