#!yaml
# From v2.yml, by infra_pigsty.convert. For all minions; its secrets are in infra_secrets.
infra:
  admin_ip: 10.10.10.10
  region: china
  infra_hosts:
    10.10.10.10:
      infra_seq: 1
  nodes:
    10.10.10.10:
      nodename: pg-meta-1
      node_cluster: pg-meta
      register:
        pgsql:
          targets:
            - job: pgsql
              port: 9630
              cls: pg-meta
              ins: pg-meta-1
            - job: pgsql
              port: 8008
              cls: pg-meta
              ins: pg-meta-1
          dns:
            - address: 10.10.10.10
              names:
                - pg-meta-1
            - address: 10.10.10.10
              names:
                - pg-meta
        etcd:
          targets:
            - job: etcd
              port: 2379
              cls: etcd
              ins: etcd-1
  nginx_sslmode: enable
  infra_portal:
    home:
      domain: h.pigsty
    grafana:
      domain: g.pigsty
      endpoint: ${admin_ip}:3000
      websocket: true
    prometheus:
      domain: p.pigsty
      endpoint: 10.10.10.10:8428
    alertmanager:
      domain: a.pigsty
      endpoint: ${admin_ip}:9059
    metrics:
      domain: my_metrics.pigsty
      endpoint: 127.0.0.1:8428
    blackbox:
      endpoint: ${admin_ip}:9115
    loki:
      endpoint: ${admin_ip}:9428
  infra_extra_services:
    - name: CA Cert
      url: /ca.crt
      desc: self-signed certificate
    - name: Package
      url: /pigsty
      desc: packages
  dns_records:
    - ${admin_ip} h.pigsty a.pigsty p.pigsty g.pigsty
    - ${admin_ip} api.pigsty adm.pigsty cli.pigsty ddl.pigsty lab.pigsty git.pigsty sss.pigsty wiki.pigsty
  node_cluster: nodes
  node_default_etc_hosts:
    - ${admin_ip} h.pigsty a.pigsty p.pigsty g.pigsty
  node_repo_modules: ''
  haproxy_enabled: true
  vmetrics_scrape_interval: 5s
  vmetrics_scrape_timeout: 5s
  vmetrics_retention: 90d
  vlogs_retention: 30d
