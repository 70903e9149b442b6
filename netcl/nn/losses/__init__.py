"""Losses as modules, a file for each idea. Import them from netcl.nn."""
