# The way back: other sources are enabled again; packages go only where repo_clean says so. The
# signing key always stays, below /var/lib/infra/repo.
{%- from "infra/map.jinja" import infra with context %}

include:
  - infra.sync

infra-repo-sources-enabled:
  infra_repo.unused:
    - name: {{ infra.repo_name | tojson }}
    - home: {{ infra.repo_home | tojson }}

infra-repo-definitions-absent:
  infra_repo.absent:
    - name: {{ infra.repo_name | tojson }}
    - home: {{ infra.repo_home | tojson }}
    - packages: {{ infra.repo_clean | tojson }}
    - require:
      - infra_repo: infra-repo-sources-enabled
