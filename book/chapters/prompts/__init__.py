"""What a predictor should say of a prompt that has not one answer's length, but a law of lengths."""
