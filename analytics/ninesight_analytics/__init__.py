"""What the numbers mean: percentiles with bounds, cost per prediction, SLA compliance."""
