"""From this machine to boards: preflight, wheelhouse, releases, and Ansible for one board and for a fleet."""
