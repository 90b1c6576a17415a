"""The digest of this release; written by `make generate`."""

DIGEST = "a165bf2c56dfdaa4dd5e5e7b06b2de58aac105f44421b7b2805cea636848a0ce"
