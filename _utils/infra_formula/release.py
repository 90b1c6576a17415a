"""The digest of this release; written by `make generate`."""

DIGEST = "6ea41901909bac9fd2d9d42cc2aea3fb846109f755bed4b015ea6a5363d02649"
