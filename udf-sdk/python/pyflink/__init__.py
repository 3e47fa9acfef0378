"""As much of PyFlink as a file of scalar functions imports, so that the file works in Weir unchanged."""
