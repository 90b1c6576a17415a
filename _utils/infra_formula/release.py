"""The digest of this release; written by `make generate`."""

DIGEST = "e4e0a3b1f07d5d5825d68d678527a183631c2ab57ac9d80509c10f36237adbe5"
