"""Checks of lesson 10, unlabelled data."""
