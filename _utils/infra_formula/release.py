"""The digest of this release; written by `make generate`."""

DIGEST = "97c6eddeab8c29d393adb068f9ab5ca268f269d105f801e1e0792271ff0dc6b5"
