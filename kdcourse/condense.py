"""Small synthetic sets that stand in for a large data set."""
