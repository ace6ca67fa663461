#!/usr/bin/python
# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: fleet_facts
short_description: Read the fleet of GPU nodes from the inventory
version_added: 0.1.0
description:
  - Internal to the playbook C(guard). Reads and checks the groups C(gpu_clusters) and
    C(gpu_nodes), the variables of their hosts and the limit of the run, and sets the fact
    C(gpu_sharing_fleet), which has one part per cluster.
  - Also sets the fact C(gpu_sharing_run), which only this run of Ansible has. The plays that follow
    compare it, because a fact cache keeps the fleet of earlier runs.
  - Fails if C(--tags) or C(--skip-tags) leave out the work of the playbook. If the whole playbook
    has tags, from its C(import_playbook), it warns instead.
  - Run it once in a play over all hosts, because it takes Ansible's own resolution of the limit
    from that play.
  - The fact is as large as the inventory. Delegate it to one host, as in the example; otherwise
    Ansible sets it for every host, and a fact cache stores it for each of them.
  - Runs on the controller. No connection is made.
author:
  - gpufleet.sharing contributors (@gpufleet)
attributes:
  check_mode:
    description: Reads only, so it does the same in check mode.
    support: full
  diff_mode:
    description: Changes nothing, so there is no difference to show.
    support: none
  idempotent:
    description: A second run with the same input changes nothing.
    support: full
"""

EXAMPLES = r"""
- name: Read the inventory
  hosts: localhost:all
  gather_facts: false
  tasks:
    - name: Read the fleet
      gpufleet.sharing.fleet_facts:
      run_once: true
      delegate_to: localhost
      delegate_facts: true

    - name: Show the nodes of a cluster
      ansible.builtin.debug:
        msg: "{{ fleet['prod-eu'].nodes | from_json }}"
      vars:
        fleet: "{{ hostvars.localhost.ansible_facts.gpu_sharing_fleet }}"
      run_once: true
"""

RETURN = r"""
ansible_facts:
  description: The fact.
  type: dict
  returned: success
  contains:
    gpu_sharing_fleet:
      description: >-
        For each cluster its C(nodes), as the option O(gpufleet.sharing.rollout#module:nodes), and
        whether the run is C(limited), so that nodes of the cluster are left out. The nodes are
        JSON, because Ansible would visit each of the thousands of values in a structure at each
        use.
      type: dict
      sample:
        prod-eu:
          nodes: >-
            [{"name":"gpu-01","profile":"dev","group":"dev_gpus","gpus":null,"host":"eu-gpu-01",
            "selected":true}]
          limited: false
    gpu_sharing_run:
      description: A name of this run.
      type: str
      sample: /home/me/.ansible/tmp/ansible-local-4711k3j_x9
"""

from ansible.module_utils.basic import AnsibleModule


def main() -> None:
    module = AnsibleModule(argument_spec={}, supports_check_mode=True)
    module.fail_json(msg="fleet_facts is done by its action plugin; it was run without it.")


if __name__ == "__main__":
    main()
