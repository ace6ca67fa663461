// SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"strings"

	corev1 "k8s.io/api/core/v1"
)

const (
	labelPresent  = "nvidia.com/gpu.present"
	labelOperands = "nvidia.com/gpu.deploy.operands"
	deployPlugin  = "nvidia.com/gpu.deploy.device-plugin"
	deployGFD     = "nvidia.com/gpu.deploy.gpu-feature-discovery"
	deployMIG     = "nvidia.com/gpu.deploy.mig-manager"
	labelMIG      = "nvidia.com/mig.config"
	labelMIGState = "nvidia.com/mig.config.state"
)

// discovered are the labels by which Node Feature Discovery tells of NVIDIA devices.
var discovered = []string{
	"feature.node.kubernetes.io/pci-10de.present",
	"feature.node.kubernetes.io/pci-0302_10de.present",
	"feature.node.kubernetes.io/pci-0300_10de.present",
}

// deployed are the operands that the operator switches on for every GPU node.
var deployed = []string{
	deployPlugin, deployGFD,
	"nvidia.com/gpu.deploy.driver", "nvidia.com/gpu.deploy.container-toolkit",
	"nvidia.com/gpu.deploy.dcgm", "nvidia.com/gpu.deploy.dcgm-exporter",
	"nvidia.com/gpu.deploy.node-status-exporter", "nvidia.com/gpu.deploy.operator-validator",
	"nvidia.com/gpu.deploy.client",
}

func hasGPU(labels map[string]string) bool {
	for _, key := range discovered {
		if labels[key] == "true" {
			return true
		}
	}
	return false
}

// needsLabels: the changes of a node upon which the operator looks at its labels. A removed
// gpu.deploy label is not among them.
func needsLabels(before, after *corev1.Node) bool {
	old, now := before.Labels, after.Labels
	return hasGPU(now) != (now[labelPresent] == "true") ||
		old[labelPresent] != now[labelPresent] ||
		(old[labelOperands] == "false") != (now[labelOperands] == "false") ||
		migCapable(old) != migCapable(now)
}

// operatorLabels is the change that the operator makes to the labels of a node; nil values remove.
// A label that somebody has set to another value stays. migDefault is the MIG config for nodes
// without one, if any.
func operatorLabels(labels map[string]string, migDefault string) map[string]any {
	change := map[string]any{}
	present := hasGPU(labels)
	if present && labels[labelPresent] != "true" {
		change[labelPresent] = "true"
	} else if !present && labels[labelPresent] == "true" {
		change[labelPresent] = "false"
	}
	if !present || labels[labelOperands] == "false" {
		for _, key := range append([]string{deployMIG}, deployed...) {
			if _, ok := labels[key]; ok {
				change[key] = nil
			}
		}
		return change
	}
	for _, key := range deployed {
		if labels[key] == "" {
			change[key] = "true"
		}
	}
	if migCapable(labels) {
		for key, value := range map[string]string{deployMIG: "true", labelMIG: migDefault} {
			if labels[key] == "" && value != "" {
				change[key] = value
			}
		}
	}
	return change
}

func migCapable(labels map[string]string) bool {
	if value, ok := labels["nvidia.com/mig.capable"]; ok {
		return value == "true"
	}
	product := strings.ToLower(labels["nvidia.com/gpu.product"])
	return strings.Contains(product, "h100") || strings.Contains(product, "a100") || strings.Contains(product, "a30")
}
