"""Shipping of logs."""
