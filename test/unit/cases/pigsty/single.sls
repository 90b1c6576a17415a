#!yaml
# From single.yml, by infra_pigsty.convert. For all minions; its secrets are in infra_secrets.
infra:
  version: v4.5.0
  admin_ip: 10.10.10.10
  region: default
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
              port: 9631
              cls: pg-meta
              ins: pg-meta-1
            - job: pgsql
              port: 9854
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
            - address: 10.10.10.2
              names:
                - pg-meta
        etcd:
          targets:
            - job: etcd
              port: 2379
              cls: etcd
              ins: etcd-1
  infra_portal:
    home:
      domain: i.pigsty
  repo_enabled: false
  node_repo_modules: node,infra,pgsql
  haproxy_enabled: true
  vmetrics_targets:
    ping:
      - targets:
          - 10.10.10.2
        labels:
          ip: 10.10.10.10
          ins: pg-meta-1
          cls: pg-meta
          vip: 10.10.10.2
          job: pgsql-vip
  grafana_admin_password: pigsty
