# Removal: other sources are enabled again, before what was installed from ours goes.
{% from "infra/map.jinja" import infra, yaml with context %}
{% from "infra/clean.jinja" import removed with context %}

include:
  - infra.safeguard
{{ removed('repo') }}
{% if 'config' in infra.infra_remove %}

infra-repo-sources-enabled:
  infra_repo.unused:
    - name: {{ yaml(infra.repo_name) }}
    - home: {{ yaml(infra.repo_home) }}
    - require:
      - infra_clean: infra-clean-allowed
    - require_in:
      - infra_clean: infra-repo-config-removed
{% endif %}
