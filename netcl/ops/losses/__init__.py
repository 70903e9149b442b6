"""Losses, a file for each idea. Import them from netcl.nn.functional."""
