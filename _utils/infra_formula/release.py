"""The digest of this release; written by `make generate`."""

DIGEST = "1945ed32877ae56639c81d1ec64d40ca4cf75d79439f402ba46cd1f386a95c6c"
