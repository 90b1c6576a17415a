#!yaml
# From four.yml, by infra_pigsty.convert. For all minions; its secrets are in infra_secrets.
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
        minio:
          targets:
            - job: minio
              port: 9000
              cls: minio
              ins: minio-1
          dns:
            - address: 10.10.10.10
              names:
                - minio-1
                - minio-1.pigsty
        docker:
          targets:
            - job: docker
              port: 9323
    10.10.10.11:
      nodename: pg-test-1
      node_cluster: pg-test
      register:
        pgsql:
          targets:
            - job: pgsql
              port: 9630
              cls: pg-test
              ins: pg-test-1
            - job: pgsql
              port: 9631
              cls: pg-test
              ins: pg-test-1
            - job: pgsql
              port: 9854
              cls: pg-test
              ins: pg-test-1
          dns:
            - address: 10.10.10.11
              names:
                - pg-test-1
            - address: 10.10.10.3
              names:
                - pg-test
        etcd:
          targets:
            - job: etcd
              port: 2379
              cls: etcd
              ins: etcd-2
        vip:
          targets:
            - job: node
              port: 9650
              labels:
                vip: 10.10.10.99
          dns:
            - address: 10.10.10.99
              names:
                - pg-test.vip
    10.10.10.12:
      nodename: pg-test-2
      node_cluster: pg-test
      register:
        pgsql:
          targets:
            - job: pgsql
              port: 9630
              cls: pg-test
              ins: pg-test-2
            - job: pgsql
              port: 9631
              cls: pg-test
              ins: pg-test-2
            - job: pgsql
              port: 9854
              cls: pg-test
              ins: pg-test-2
          dns:
            - address: 10.10.10.12
              names:
                - pg-test-2
        etcd:
          targets:
            - job: etcd
              port: 2379
              cls: etcd
              ins: etcd-3
        vip:
          targets:
            - job: node
              port: 9650
              labels:
                vip: 10.10.10.99
    10.10.10.13:
      nodename: pg-test-3
      node_cluster: pg-test
      register:
        pgsql:
          targets:
            - job: pgsql
              port: 9630
              cls: pg-test
              ins: pg-test-3
            - job: pgsql
              port: 9631
              cls: pg-test
              ins: pg-test-3
            - job: pgsql
              port: 9854
              cls: pg-test
              ins: pg-test-3
          dns:
            - address: 10.10.10.13
              names:
                - pg-test-3
        vip:
          targets:
            - job: node
              port: 9650
              labels:
                vip: 10.10.10.99
  infra_portal:
    home:
      domain: i.pigsty
    minio:
      domain: m.pigsty
      endpoint: ${admin_ip}:9001
      scheme: https
      websocket: true
    postgrest:
      domain: api.pigsty
      endpoint: 127.0.0.1:8884
    pgadmin:
      domain: adm.pigsty
      endpoint: 127.0.0.1:8885
  repo_packages:
    - node-bootstrap
    - infra-package
    - infra-addons
  repo_extra_packages:
    - pgsql-main
  node_etc_hosts:
    - 10.10.10.10 i.pigsty sss.pigsty
  node_dns_servers:
    - ${admin_ip}
  node_ntp_servers:
    - pool cn.pool.ntp.org iburst
  haproxy_enabled: true
  vmetrics_targets:
    patroni:
      - targets:
          - 10.10.10.10:8008
        labels:
          job: pgsql
          cls: pg-meta
          ins: pg-meta-1
          ip: 10.10.10.10
      - targets:
          - 10.10.10.11:8008
        labels:
          job: pgsql
          cls: pg-test
          ins: pg-test-1
          ip: 10.10.10.11
      - targets:
          - 10.10.10.12:8008
        labels:
          job: pgsql
          cls: pg-test
          ins: pg-test-2
          ip: 10.10.10.12
      - targets:
          - 10.10.10.13:8008
        labels:
          job: pgsql
          cls: pg-test
          ins: pg-test-3
          ip: 10.10.10.13
    ping:
      - targets:
          - 10.10.10.99
        labels:
          ip: 10.10.10.11
          ins: pg-test-1
          cls: pg-test
          vip: 10.10.10.99
          job: node-vip
      - targets:
          - 10.10.10.3
        labels:
          ip: 10.10.10.11
          ins: pg-test-1
          cls: pg-test
          vip: 10.10.10.3
          job: pgsql-vip
      - targets:
          - 10.10.10.99
        labels:
          ip: 10.10.10.12
          ins: pg-test-2
          cls: pg-test
          vip: 10.10.10.99
          job: node-vip
      - targets:
          - 10.10.10.3
        labels:
          ip: 10.10.10.12
          ins: pg-test-2
          cls: pg-test
          vip: 10.10.10.3
          job: pgsql-vip
      - targets:
          - 10.10.10.99
        labels:
          ip: 10.10.10.13
          ins: pg-test-3
          cls: pg-test
          vip: 10.10.10.99
          job: node-vip
      - targets:
          - 10.10.10.3
        labels:
          ip: 10.10.10.13
          ins: pg-test-3
          cls: pg-test
          vip: 10.10.10.3
          job: pgsql-vip
    redis:
      - targets:
          - redis://10.10.10.13:6379
        labels:
          cls: redis-ms
          ins: redis-ms-1-6379
          ip: 10.10.10.13
      - targets:
          - redis://10.10.10.13:6380
        labels:
          cls: redis-ms
          ins: redis-ms-1-6380
          ip: 10.10.10.13
  patroni_ssl_enabled: true
