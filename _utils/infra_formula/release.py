"""The digest of this release; written by `make generate`."""

DIGEST = "8873c5202af715c81191f598dde960ae8f9e919f20650e8c393c5dfaabb6bcd5"
