#!yaml
# From v3.yml, by infra_pigsty.convert. For all minions; its secrets are in infra_secrets.
infra:
  admin_ip: 10.10.10.10
  infra_hosts:
    10.10.10.10:
      infra_seq: 1
  infra_portal:
    home:
      domain: h.pigsty
    grafana:
      domain: g.pigsty
      endpoint: ${admin_ip}:3000
      websocket: true
    prometheus:
      domain: p.pigsty
      endpoint: ${admin_ip}:8428
    alertmanager:
      domain: a.pigsty
      endpoint: ${admin_ip}:9059
    blackbox:
      endpoint: ${admin_ip}:9115
    loki:
      endpoint: ${admin_ip}:9428
  infra_extra_services:
    - name: CA Cert
      url: /ca.crt
      desc: pigsty self-signed ca.crt
    - name: Package
      url: /pigsty
      desc: local yum repo packages
  dns_records:
    - ${admin_ip} h.pigsty a.pigsty p.pigsty g.pigsty
    - ${admin_ip} api.pigsty adm.pigsty cli.pigsty ddl.pigsty lab.pigsty git.pigsty m.pigsty wiki.pigsty
  node_default_etc_hosts:
    - ${admin_ip} h.pigsty a.pigsty p.pigsty g.pigsty
  node_firewall_mode: 'off'
  haproxy_enabled: true
  vmetrics_enabled: true
  vmetrics_scrape_interval: 15s
  vmetrics_scrape_timeout: 10s
  vmetrics_retention: 30d
  vlogs_enabled: true
  vlogs_retention: 7d
  vector_enabled: true
