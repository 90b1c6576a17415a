"""The digest of this release; written by `make generate`."""

DIGEST = "b0104d177cbe699611a567a6dce764e011fb277cc50f48aa243c0629e5604716"
