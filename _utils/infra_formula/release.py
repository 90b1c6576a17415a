"""The digest of this release; written by `make generate`."""

DIGEST = "24a6feb3825e8f889cdc9a80b5e9ec33205f442776ecd838cf7006f9fcccd1e9"
