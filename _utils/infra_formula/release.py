"""The digest of this release; written by `make generate`."""

DIGEST = "4b15aed5d277faada1c327356d3f6f5f85a9336cdf7f1fd9ba6558c33c377219"
