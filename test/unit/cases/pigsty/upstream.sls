#!yaml
# From upstream.yml, by infra_pigsty.convert. For all minions; its secrets are in infra_secrets.
infra:
  admin_ip: 10.10.10.10
  infra_hosts:
    10.10.10.10:
      infra_seq: 1
  nodes:
    10.10.10.31:
      register:
        kafka:
          targets:
            - job: kafka
              port: 9404
              cls: kf-main
              ins: kf-main-1
              labels:
                role: combined
                node_id: '1'
            - job: kafka
              port: 9308
              cls: kf-main
              ins: kf-main-1
    10.10.10.32:
      register:
        mysql:
          targets:
            - job: mysql
              port: 9104
              cls: my-main
              ins: my-main-1
    10.10.10.33:
      register:
        juice:
          targets:
            - job: juice
              port: 9567
  infra_portal:
    home:
      domain: i.pigsty
  repo_upstream:
    - name: pigsty-local
      description: Local
      module: local
      releases:
        - 8
        - 9
        - 10
        - 12
        - 13
      arch:
        - x86_64
        - aarch64
      baseurl:
        default: http://${admin_ip}/pigsty
      trusted: true
    - name: site
      description: Ours
      module: node
      releases:
        - 12
      arch:
        - x86_64
      trusted: true
      baseurl:
        default: https://mirror.example.com/debian bookworm main
      minor: false
  pg_version: 17
  haproxy_enabled: true
  vmetrics_targets:
    pgrds:
      - targets:
          - 10.10.10.10:20001
        labels:
          cls: pg-foo
          ins: pg-foo-1
          ip: 10.10.10.50
      - targets:
          - 10.10.10.10:20002
        labels:
          cls: pg-foo
          ins: pg-foo-2
          ip: 10.10.10.51
