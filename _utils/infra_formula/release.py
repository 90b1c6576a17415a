"""The digest of this release; written by `make generate`."""

DIGEST = "42edd5ebed7d278481d546eb2c368866375ebe2f6c55fb8d285accb64da33005"
