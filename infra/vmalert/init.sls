# vmalert: evaluates the rules, over metrics and, where vlogs is on, over logs.
include:
  - infra.vmalert.package
  - infra.vmalert.config
  - infra.vmalert.service
  - infra.daemon.stable
