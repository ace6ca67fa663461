// SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

func asking(name string, slots int64) *corev1.Pod {
	limits := corev1.ResourceList{corev1.ResourceName(name): *resource.NewQuantity(slots, resource.DecimalSI)}
	container := corev1.Container{Resources: corev1.ResourceRequirements{Limits: limits}}
	return &corev1.Pod{Spec: corev1.PodSpec{Containers: []corev1.Container{container}}}
}

func TestManySlotsAreGivenAsTheFileSays(t *testing.T) {
	plugin := func(file string) *agent {
		config := newParser().parse(file, environment{})
		if !config.OK {
			t.Fatal(config.Error)
		}
		return &agent{loaded: &loaded{config: config}}
	}
	file := func(strategy, settings string) *agent {
		return plugin("version: v1\nsharing: {" + strategy + ": {" + settings + "resources: [{name: nvidia.com/gpu, replicas: 4}]}}")
	}
	for name, c := range map[string]struct {
		plugin  *agent
		pod     *corev1.Pod
		refused bool
	}{
		"flag":                  {file("timeSlicing", "failRequestsGreaterThanOne: true, "), asking(gpuResource, 2), true},
		"one slot":              {file("timeSlicing", "failRequestsGreaterThanOne: true, "), asking(gpuResource, 1), false},
		"renamed":               {file("timeSlicing", "renameByDefault: true, failRequestsGreaterThanOne: true, "), asking(gpuResource+".shared", 2), true},
		"another resource":      {file("timeSlicing", "failRequestsGreaterThanOne: true, "), asking("nvidia.com/mig-1g.10gb", 2), false},
		"no flag":               {file("timeSlicing", ""), asking(gpuResource, 2), false},
		"MPS":                   {file("mps", ""), asking(gpuResource, 2), true},
		"not shared":            {plugin("version: v1"), asking(gpuResource, 2), false},
		"plugin is down":        {nil, asking(gpuResource, 2), true},
		"plugin loaded no file": {&agent{}, asking(gpuResource, 2), true},
	} {
		said := refuses(c.plugin, c.pod)
		if (said != "") != c.refused {
			t.Errorf("%s: %q", name, said)
		}
		if name == "flag" && !strings.Contains(said, "request for 'nvidia.com/gpu: 2' too large") {
			t.Errorf("%s: %q", name, said)
		}
	}
}
