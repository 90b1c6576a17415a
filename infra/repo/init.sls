{% from "infra/map.jinja" import infra, arguments, yaml with context %}
{% set repo = arguments.repository %}

include:
  - infra.webroot

# An offline package comes first: on a machine without network, the tools are installed out of it.

infra-repo-archive-unpacked:
  infra_repo.unpacked:
    - name: {{ yaml(repo.name) }}
    - home: {{ yaml(repo.home) }}
    - archive: {{ yaml(infra.repo_archive) }}
    - checksum: {{ yaml(infra.repo_archive_checksum) }}
    - fingerprint: {{ yaml(infra.repo_archive_fingerprint) }}
    - unsigned: {{ yaml(infra.repo_archive_unsigned) }}
    - key: {{ yaml(repo.key) }}
{# Where Pigsty's users put it; not read where another path is named. #}
{% if infra.repo_archive == '/root/pkg.tgz' %}
    - fallback: /tmp/pkg.tgz
{% endif %}
    - optional: true
    - require:
      - sls: infra.webroot

infra-repo-archive-used:
  infra_repo.used:
    - name: {{ yaml(repo.name) }}
    - home: {{ yaml(repo.home) }}
    - exclusive: {{ yaml(infra.repo_remove) }}
{% if infra.repo_remove_check %}
    - needs: {{ yaml(arguments.repository_needs) }}
{% endif %}
    - optional: true
    - require:
      - infra_repo: infra-repo-archive-unpacked

infra-repo-tools-installed:
  infra_package.installed:
    - component: repo
    - pkgs: {{ yaml(arguments.repository_tools) }}
    - require:
      - infra_repo: infra-repo-archive-used

# What an archive without signatures held could be used, but not signed, before gpg was there.
infra-repo-archive-signed:
  infra_repo.signed:
    - name: {{ yaml(repo.name) }}
    - home: {{ yaml(repo.home) }}
    - key: {{ yaml(repo.key) }}
    - require:
      - infra_package: infra-repo-tools-installed

# Built, told to clients, used by this machine itself.

infra-repo-packages-published:
  infra_repo.built:
    - name: {{ yaml(repo.name) }}
    - home: {{ yaml(repo.home) }}
    - request: {{ yaml(repo.request) }}
    - key: {{ yaml(repo.key) }}
    - transfer: {{ yaml(repo.transfer) }}
    - force: {{ yaml(infra.repo_build) }}
    - require:
      - infra_package: infra-repo-tools-installed
      - infra_repo: infra-repo-archive-signed

infra-repo-definitions-published:
  infra_repo.defined:
    - name: {{ yaml(repo.name) }}
    - home: {{ yaml(repo.home) }}
    - endpoints: {{ yaml(repo.endpoints) }}
    - require:
      - infra_repo: infra-repo-packages-published

infra-repo-packages-used:
  infra_repo.used:
    - name: {{ yaml(repo.name) }}
    - home: {{ yaml(repo.home) }}
    - exclusive: {{ yaml(infra.repo_remove) }}
{% if infra.repo_remove_check %}
    - needs: {{ yaml(arguments.repository_needs) }}
{% endif %}
    - require:
      - infra_repo: infra-repo-packages-published
