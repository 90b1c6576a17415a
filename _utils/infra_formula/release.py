"""The digest of this release; written by `make generate`."""

DIGEST = "7eb5a1f942e77dbe037a34697a82d84d87ecbe6fc5185165fba9f634686a9a66"
