// SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"maps"
	"testing"
)

var asOperator = environment{migStrategy: "single", mpsRoot: "/run/nvidia/mps", pluginDefaults: true,
	starts: thePlugin | theGFD | theMPSDaemon}

func TestWhatCanBeObserved(t *testing.T) {
	node := hardware{gpus: 2, unhealthy: 1, memory: 23028, product: "NVIDIA A10"}
	for name, c := range map[string]struct {
		file                        string
		replicas, product, strategy string
		offered                     map[string]slots
	}{
		"no sharing": {"version: v1", "1", "NVIDIA-A10", "none", map[string]slots{gpuResource: {2, 1}}},
		"empty":      {"", "1", "NVIDIA-A10", "none", map[string]slots{gpuResource: {2, 1}}},
		"time-slicing": {"sharing: {timeSlicing: {resources: [{name: nvidia.com/gpu, replicas: 4}]}}",
			"4", "NVIDIA-A10-SHARED", "time-slicing", map[string]slots{gpuResource: {8, 7}}},
		"renamed": {"sharing: {timeSlicing: {renameByDefault: true, resources: [{name: gpu, replicas: 4}]}}",
			"4", "NVIDIA-A10", "time-slicing", map[string]slots{"nvidia.com/gpu.shared": {8, 7}}},
		"rename is dropped": {"sharing: {timeSlicing: {resources: [{name: gpu, rename: gpu.mine, replicas: 4}]}}",
			"4", "NVIDIA-A10-SHARED", "time-slicing", map[string]slots{gpuResource: {8, 7}}},
		"mps": {"sharing: {mps: {resources: [{name: nvidia.com/gpu, replicas: 3}]}}",
			"3", "NVIDIA-A10-SHARED", "mps", map[string]slots{gpuResource: {6, 5}}},
		"mps wins": {"sharing: {timeSlicing: {resources: [{name: gpu, replicas: 9}]}, mps: {resources: [{name: gpu, replicas: 3}]}}",
			"3", "NVIDIA-A10-SHARED", "mps", map[string]slots{gpuResource: {6, 5}}},
		"twice": {"sharing: {timeSlicing: {resources: [{name: gpu, replicas: 2}, {name: gpu, replicas: 5}]}}",
			"2", "NVIDIA-A10-SHARED", "time-slicing", map[string]slots{gpuResource: {10, 9}}},
		"another resource": {"sharing: {timeSlicing: {resources: [{name: mig-1g.5gb, replicas: 2}]}}",
			"1", "NVIDIA-A10", "none", map[string]slots{gpuResource: {2, 1}}},
	} {
		config := parse(c.file, asOperator)
		if !config.OK {
			t.Errorf("%s: %s", name, config.Error)
			continue
		}
		labels := gfdLabels(config, node, 0)
		for key, want := range map[string]string{"count": "2", "replicas": c.replicas, "product": c.product,
			"memory": "23028", "sharing-strategy": c.strategy} {
			if got := labels["nvidia.com/gpu."+key]; got != want {
				t.Errorf("%s: gpu.%s is %q, want %q", name, key, got, want)
			}
		}
		if got := advertised(config, node); !maps.Equal(got, c.offered) {
			t.Errorf("%s: offered %v, want %v", name, got, c.offered)
		}
	}
}

func TestOperatorLabels(t *testing.T) {
	gpu := "feature.node.kubernetes.io/pci-10de.present"
	if change := operatorLabels(map[string]string{"a": "b"}, configDisabled); len(change) != 0 {
		t.Errorf("CPU node: %v", change)
	}
	fresh := operatorLabels(map[string]string{gpu: "true"}, configDisabled)
	if fresh[labelPresent] != "true" || fresh[deployPlugin] != "true" || fresh[labelMIG] != nil {
		t.Errorf("fresh GPU node: %v", fresh)
	}
	off := operatorLabels(map[string]string{gpu: "true", labelPresent: "true", deployPlugin: "false"}, configDisabled)
	if _, touched := off[deployPlugin]; touched {
		t.Errorf("a value that somebody has set stays: %v", off)
	}
	none := operatorLabels(map[string]string{gpu: "true", labelPresent: "true", labelOperands: "false",
		deployPlugin: "true", deployGFD: "true"}, configDisabled)
	if value, touched := none[deployPlugin]; !touched || value != nil || len(none) != 2 {
		t.Errorf("operands off: %v", none)
	}
}

func TestOperatorLabelsOfMIG(t *testing.T) {
	capable := map[string]string{"feature.node.kubernetes.io/pci-10de.present": "true", "nvidia.com/mig.capable": "true"}
	with := operatorLabels(capable, configDisabled)
	if with[deployMIG] != "true" || with[labelMIG] != configDisabled || with[labelMIGState] != nil {
		t.Errorf("%v", with)
	}
	if without := operatorLabels(capable, ""); without[deployMIG] != "true" || without[labelMIG] != nil {
		t.Errorf("no default: %v", without)
	}
	capable[labelMIG] = "all-1g.10gb"
	if chosen := operatorLabels(capable, configDisabled); chosen[labelMIG] != nil {
		t.Errorf("somebody has chosen: %v", chosen)
	}
}

// GFD counts the GPUs of one model; the plugin serves all of them.
func TestLabelsLeaveOtherModelsOut(t *testing.T) {
	node := hardware{gpus: 3, others: 1, product: "NVIDIA A10"}
	config := newParser().parse(slicing(4), asOperator)
	if got := gfdLabels(config, node, 0)["nvidia.com/gpu.count"]; got != "2" {
		t.Errorf("count %s, want 2", got)
	}
	if got := advertised(config, node)[gpuResource].total; got != 12 {
		t.Errorf("%d slots, want 12", got)
	}
}
