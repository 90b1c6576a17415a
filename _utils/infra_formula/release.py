"""The digest of this release; written by `make generate`."""

DIGEST = "8a3cdecd0f82cb09535517a9a788c285c8e7cf3ae83d0fd5c47baa05b09bb075"
