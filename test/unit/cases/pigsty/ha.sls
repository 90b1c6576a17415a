#!yaml
# From ha.yml, by infra_pigsty.convert. For all minions; its secrets are in infra_secrets.
infra:
  admin_ip: 10.10.10.10
  infra_hosts:
    10.10.10.10:
      infra_seq: 1
    10.10.10.11:
      infra_seq: 2
    10.10.10.12:
      infra_seq: 3
  nodes:
    10.10.10.12:
      repo_enabled: false
      node_cluster: infra
      vlogs_retention: 7d
      vlogs_max_disk: ''
      vlogs_options: ''
      register:
        vip:
          targets:
            - job: node
              port: 9650
              labels:
                vip: 10.10.10.9
          dns:
            - address: 10.10.10.9
              names:
                - infra.vip
    10.10.10.10:
      node_cluster: infra
      register:
        vip:
          targets:
            - job: node
              port: 9650
              labels:
                vip: 10.10.10.9
    10.10.10.11:
      node_cluster: infra
      register:
        vip:
          targets:
            - job: node
              port: 9650
              labels:
                vip: 10.10.10.9
    10.10.10.20:
      node_cluster: app
      node_dns_method: overwrite
      haproxy_enabled: false
    10.10.10.21:
      node_cluster: app
      node_dns_method: overwrite
      haproxy_enabled: false
    10.10.10.22:
      node_cluster: app
      node_dns_method: overwrite
      haproxy_enabled: false
  infra_portal:
    home:
      domain: i.pigsty
  repo_enabled: true
  haproxy_enabled: true
  vmetrics_targets:
    ping:
      - targets:
          - 10.10.10.9
        labels:
          ip: 10.10.10.12
          ins: 10.10.10.12
          cls: infra
          vip: 10.10.10.9
          job: node-vip
      - targets:
          - 10.10.10.9
        labels:
          ip: 10.10.10.10
          ins: 10.10.10.10
          cls: infra
          vip: 10.10.10.9
          job: node-vip
      - targets:
          - 10.10.10.9
        labels:
          ip: 10.10.10.11
          ins: 10.10.10.11
          cls: infra
          vip: 10.10.10.9
          job: node-vip
  vlogs_retention: 15d
  vlogs_max_disk: 20GiB
  vlogs_options: -search.maxQueryDuration=60s
