"""The digest of this release; written by `make generate`."""

DIGEST = "18647d0f219846469ae204cda2b930121e88ff4ca44c1241bd0992b762d0fc08"
