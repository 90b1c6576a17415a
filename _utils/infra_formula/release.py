"""The digest of this release; written by `make generate`."""

DIGEST = "6cfd99a1a96e4b9c4e763bc07f8229d3d70cc5be51f8dce608da5a601b64f3b9"
