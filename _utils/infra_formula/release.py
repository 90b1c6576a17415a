"""The digest of this release; written by `make generate`."""

DIGEST = "ebed9c4e0a39ebe084f0639466a4bc6ef1d6bc0e50f99c0a732cafbc7234a406"
