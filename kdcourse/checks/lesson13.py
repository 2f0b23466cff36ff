"""Checks of lesson 13, poison and privacy."""
