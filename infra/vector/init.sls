# Vector: ships this machine's logs to every INFRA node.
include:
  - infra.vector.package
  - infra.vector.config
  - infra.vector.service
  - infra.daemon.stable
