infra-status-components-forgotten:
  file.absent:
    - name: /var/lib/infra/status.json
