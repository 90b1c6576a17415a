"""The digest of this release; written by `make generate`."""

DIGEST = "62bd2469a334ad1f711774c9000a88240dd13f7984102676008e57d9f4ea7937"
