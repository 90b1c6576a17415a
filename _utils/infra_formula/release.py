"""The digest of this release; written by `make generate`."""

DIGEST = "ae60088c09e0289202440b4b0c3c85df9fad83c39e967308c46c855bf358eb40"
