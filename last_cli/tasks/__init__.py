"""Tasks: named, versioned data sets with their splits, one file a task."""
