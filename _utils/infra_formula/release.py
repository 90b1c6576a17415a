"""The digest of this release; written by `make generate`."""

DIGEST = "42629f5f0bb6ac2762c33702caf3f0d846a9b30effe0606e0770c218b4093a81"
