#!yaml
# From ports.yml, by infra_pigsty.convert. For all minions; its secrets are in infra_secrets.
infra:
  admin_ip: 10.10.10.10
  infra_hosts:
    10.10.10.10:
      infra_seq: 1
  nginx_exporter_port: 19113
  nginx_port: 8080
  nginx_ssl_port: 8443
  infra_portal:
    home:
      domain: i.pigsty
    prometheus:
      domain: p.pigsty
      endpoint: ${admin_ip}:18428
  dns_port: 5353
  haproxy_enabled: true
  haproxy_exporter_port: 19101
  exporter_metrics_path: /stats
  vmetrics_port: 18428
  vlogs_port: 19428
  vtraces_port: 20428
  vmalert_port: 18880
  alertmanager_port: 19059
  blackbox_port: 19115
  node_exporter_port: 19100
  vector_enabled: true
  vector_port: 19598
