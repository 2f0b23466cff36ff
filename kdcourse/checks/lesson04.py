"""Checks for the exercises of lesson 04."""
