"""The digest of this release; written by `make generate`."""

DIGEST = "4c44c30d973d0c04b5edb863d4d76c767fd136a33d65c9290a1f30581768ae5e"
