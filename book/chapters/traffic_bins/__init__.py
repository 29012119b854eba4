"""book/chapters/traffic_bins."""
