# Metrics of this machine.
include:
  - infra.node_exporter.package
  - infra.node_exporter.config
  - infra.node_exporter.service
  - infra.daemon.stable
