# chrony: the time, from the INFRA nodes first; on an INFRA node, for the site.
include:
  - infra.ntp.package
  - infra.ntp.config
  - infra.ntp.firewall
  - infra.ntp.service
  - infra.daemon.stable
