"""The part of PyFlink that a file of scalar functions imports, so that such a file works in Weir without changes."""
