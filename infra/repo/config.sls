# Built, told to clients, used by this machine itself.
{%- from "infra/map.jinja" import infra with context %}
{%- from "infra/repo/settings.jinja" import repo with context %}

include:
  - infra.repo.package

infra-repo-packages-published:
  infra_repo.built:
    - name: {{ repo.name | tojson }}
    - home: {{ repo.home | tojson }}
    - request: {{ repo.request | tojson }}
    - key: {{ repo.key | tojson }}
    - transfer: {{ repo.transfer | tojson }}
    - force: {{ infra.repo_build | tojson }}
    - require:
      - infra_package: infra-repo-tools-installed
      - infra_repo: infra-repo-archive-signed

infra-repo-definitions-published:
  infra_repo.defined:
    - name: {{ repo.name | tojson }}
    - home: {{ repo.home | tojson }}
    - endpoints: {{ repo.endpoints | tojson }}
    - require:
      - infra_repo: infra-repo-packages-published

infra-repo-packages-used:
  infra_repo.used:
    - name: {{ repo.name | tojson }}
    - home: {{ repo.home | tojson }}
    - exclusive: {{ infra.repo_remove | tojson }}
    - require:
      - infra_repo: infra-repo-packages-published
