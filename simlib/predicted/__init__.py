"""What a law says of a run, with what is not known of it: intervals, and predicted beside measured."""
