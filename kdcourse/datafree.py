"""Transfer sets made from what a teacher knows, when its training data cannot leave the building."""
