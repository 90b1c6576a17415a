"""The digest of this release; written by `make generate`."""

DIGEST = "6fa0ae07709f7488cd42e9dfbc14f8f11c9efb5fb961f7dd0fc35d04495a8dbd"
