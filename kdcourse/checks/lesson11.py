"""Checks of lesson 11, distillation without data."""
