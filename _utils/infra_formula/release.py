"""The digest of this release; written by `make generate`."""

DIGEST = "8e633408b89e52e7d54ea52d8b9840a06ff6669f0a8cf86a231951f078990011"
