"""The digest of this release; written by `make generate`."""

DIGEST = "cd9dabf1c6e227f2b2fd0afd7410647d91bcc9c9c60b8499efa2422713649d6e"
