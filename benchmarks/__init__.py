"""Side by side with peers: ratios from one run, never times alone."""
