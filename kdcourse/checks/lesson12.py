"""Checks of lesson 12, dataset distillation."""
