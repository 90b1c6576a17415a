"""The digest of this release; written by `make generate`."""

DIGEST = "07c340ea52ab323075158320660023e12d12ba51137f9a3d0384c2efd452febc"
