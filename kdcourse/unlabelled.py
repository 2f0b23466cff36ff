"""Labels that a network gives to images nobody labelled, and what may be done with them."""
