"""The digest of this release; written by `make generate`."""

DIGEST = "b4086f6a8f0b651da916cc8d556b77f58fe7fe7b4c15b45caba6bed633ca4f60"
