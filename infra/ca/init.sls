include:
  - infra.ca.authority
  - infra.ca.trust
