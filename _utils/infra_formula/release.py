"""The digest of this release; written by `make generate`."""

DIGEST = "fe24eec0e540e982b6b6e384d3ec631fcc1754c760e6db1bbc781fde230f9ddc"
