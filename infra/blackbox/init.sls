# Probes over ICMP, TCP, HTTP and DNS, asked for by VictoriaMetrics.
include:
  - infra.blackbox.package
  - infra.blackbox.config
  - infra.blackbox.service
  - infra.daemon.stable
