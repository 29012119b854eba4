"""How good a predictor of lengths must be before bins carry more load than the best that does without them."""
