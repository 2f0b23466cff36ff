"""Checks for the exercises of lesson 02."""
