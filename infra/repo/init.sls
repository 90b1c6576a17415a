{%- from "infra/map.jinja" import infra, arguments with context %}
{%- set repo = arguments.repository %}

include:
  - infra.webroot

# An offline package comes first: on a machine without network, the tools are installed out of it.

infra-repo-archive-unpacked:
  infra_repo.unpacked:
    - name: {{ repo.name | tojson }}
    - home: {{ repo.home | tojson }}
    - archive: {{ infra.repo_archive | tojson }}
    - checksum: {{ infra.repo_archive_checksum | tojson }}
    - fingerprint: {{ infra.repo_archive_fingerprint | tojson }}
    - unsigned: {{ infra.repo_archive_unsigned | tojson }}
    - key: {{ repo.key | tojson }}
{#- Where Pigsty's users put it; not read where another path is named. #}
{%- if infra.repo_archive == '/root/pkg.tgz' %}
    - fallback: /tmp/pkg.tgz
{%- endif %}
    - optional: true
    - require:
      - sls: infra.webroot

infra-repo-archive-used:
  infra_repo.used:
    - name: {{ repo.name | tojson }}
    - home: {{ repo.home | tojson }}
    - exclusive: {{ infra.repo_remove | tojson }}
    - optional: true
    - require:
      - infra_repo: infra-repo-archive-unpacked

infra-repo-tools-installed:
  infra_package.installed:
    - component: repo
    - pkgs: {{ arguments.repository_tools | tojson }}
    - require:
      - infra_repo: infra-repo-archive-used

# What an archive without signatures held could be used, but not signed, before gpg was there.
infra-repo-archive-signed:
  infra_repo.signed:
    - name: {{ repo.name | tojson }}
    - home: {{ repo.home | tojson }}
    - key: {{ repo.key | tojson }}
    - require:
      - infra_package: infra-repo-tools-installed

# Built, told to clients, used by this machine itself.

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
