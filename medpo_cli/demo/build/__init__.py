"""Maintainer scripts that make the weights in ``medpo_cli/demo``; never imported by the package."""
