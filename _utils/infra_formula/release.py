"""The digest of this release; written by `make generate`."""

DIGEST = "1f5ac8a19321fbee3ab37373dc2b36f132a49ac6338414f0ff884e8b22cc337e"
