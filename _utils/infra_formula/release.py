"""The digest of this release; written by `make generate`."""

DIGEST = "8b1c9f5b6bdabc8f9ba10bc2406753fab06086ef452914fcf1fb411da879e6b9"
