"""What benchmarks leave behind: requests with what was measured of each."""
