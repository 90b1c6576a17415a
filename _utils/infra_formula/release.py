"""The digest of this release; written by `make generate`."""

DIGEST = "2eb04a902cafc52f5afcfda1b612ac7c4c658a71b997eb56a09fbfffbec56414"
