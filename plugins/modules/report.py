#!/usr/bin/python
# Copyright (c) 2026, gpufleet.sharing contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: report
short_description: Write a report of a fleet as HTML, JSON and Markdown
version_added: 0.1.0
description:
  - Writes what other modules have read from clusters into one self-contained HTML file, a JSON
    file with the same data for machines, and a short Markdown file for a ticket.
  - The HTML file loads nothing and sends nothing.
  - Runs on the controller. No connection is made. The files are replaced atomically, with mode
    0644.
options:
  path:
    description:
      - The HTML file. Its name ends in C(.html). The other two have the same name with C(.json)
        and C(.md).
      - A relative path starts at the folder in which Ansible was started. Missing folders are
        created.
    type: path
    default: gpu-sharing-report.html
  clusters:
    description:
      - What was read from each cluster. An element may also be the same as a JSON string, which
        is faster in Ansible with thousands of nodes.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Name of the cluster.
        type: str
        required: true
      reached:
        description: Whether it was read.
        type: bool
        default: false
      reason:
        description: Why it was not read.
        type: str
      server:
        description: Its API server.
        type: str
      version:
        description: Its version.
        type: str
      sharing:
        description: The result of M(gpufleet.sharing.sharing_info).
        type: dict
      history:
        description: The result of M(gpufleet.sharing.history_info).
        type: dict
      usage:
        description: How busy nodes are, from another source than Prometheus.
        type: dict
      prometheus:
        description:
          - Answers of Prometheus to instant queries, by C(gpu_utilisation) and C(memory), both in
            percent. The label C(Hostname), C(node) or C(kubernetes_node) identifies the node.
        type: dict
      notes:
        description: Additional notes for the reader.
        type: list
        elements: str
  names:
    description:
      - All clusters of the report. A cluster that is not in O(clusters) is shown as not reached.
    type: list
    elements: str
    default: []
  limit:
    description: The limit of the run, to show that the report does not cover all nodes.
    type: str
author:
  - gpufleet.sharing contributors (@gpufleet)
notes:
  - C(changed) shows whether anything except the time differs from the existing report. The files
    are always written, because a report shows when it was made.
attributes:
  check_mode:
    description: Can run in check mode and report what would change, without changing anything.
    support: full
  diff_mode:
    description: Shows the difference of the Markdown file, and which other files would change.
    support: full
  idempotent:
    description: A second run with the same data reports no change; it renews the time in the files.
    support: full
seealso:
  - module: gpufleet.sharing.sharing_info
  - module: gpufleet.sharing.history_info
"""

EXAMPLES = r"""
- name: Read the state of two nodes
  gpufleet.sharing.sharing_info:
    nodes:
      - {name: dev-gpu-01, profile: dev, group: dev_gpus}
      - {name: prod-gpu-01, gpus: 2}
    profiles:
      default: {replicas: 4}
      dev: {replicas: 8}
    default_profile: default
  register: sharing

- name: Write the report
  gpufleet.sharing.report:
    path: /var/www/reports/gpus.html
    clusters:
      - name: prod-eu
        reached: true
        sharing: "{{ sharing }}"
"""

RETURN = r"""
files:
  description: Paths of the HTML, the JSON and the Markdown file.
  type: list
  elements: str
  returned: success
  sample: [/srv/gpus.html, /srv/gpus.json, /srv/gpus.md]
verdict:
  description: The fleet in one line.
  type: str
  returned: success
  sample: 12 of 5,000 nodes differ from the inventory.
status:
  description:
    - V(bad) with clusters that were not reached, nodes that differ or findings that are errors.
      V(warn) with warnings, nodes above capacity or not ready. V(good) otherwise.
  type: str
  returned: success
totals:
  description: Sums over all clusters, as in the JSON file.
  type: dict
  returned: success
  sample: {clusters: 2, reached: 2, nodes: 200, physical: 400, expected: 1600, actual: 1600}
missing:
  description: Clusters that were not reached.
  type: list
  elements: str
  returned: success
"""

from ..module_utils._common.versions import check_versions

check_versions()

from ansible.module_utils.basic import AnsibleModule

CLUSTER = {
    "name": {"type": "str", "required": True},
    "reached": {"type": "bool", "default": False},
    "reason": {"type": "str"},
    "server": {"type": "str"},
    "version": {"type": "str"},
    "sharing": {"type": "dict"},
    "history": {"type": "dict"},
    "usage": {"type": "dict"},
    "prometheus": {"type": "dict"},
    "notes": {"type": "list", "elements": "str"},
}
OPTIONS = {
    "path": {"type": "path", "default": "gpu-sharing-report.html"},
    "clusters": {"type": "list", "elements": "dict", "required": True, "options": CLUSTER},
    "names": {"type": "list", "elements": "str", "default": []},
    "limit": {"type": "str"},
}


def main() -> None:
    module = AnsibleModule(argument_spec=OPTIONS, supports_check_mode=True)
    module.fail_json(msg="report is done by its action plugin; it was run without it.")


if __name__ == "__main__":
    main()
