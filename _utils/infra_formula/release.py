"""The digest of this release; written by `make generate`."""

DIGEST = "ddf1dc3486f26a898c0c7be897fb98c7a3c8213537692dd0df4a7ca2852f015c"
