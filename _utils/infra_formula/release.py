"""The digest of this release; written by `make generate`."""

DIGEST = "48b311625b045e7ff661a03b6a3d35842fca1f48e0d112637b7bee3f34720c1c"
