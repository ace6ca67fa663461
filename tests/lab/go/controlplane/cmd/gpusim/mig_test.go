// SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"maps"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const a100 = "NVIDIA-A100-SXM4-80GB"

func withMIG(strategy string) environment {
	env := asOperator
	env.migStrategy = strategy
	return env
}

// cutInto are two A100 of 80 GB, cut as the annotation says.
func cutInto(t *testing.T, annotation string) hardware {
	t.Helper()
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{annotationGPUs: "2",
		annotationProduct: a100, annotationMemory: "81920", annotationMIG: annotation}}}
	h := hardwareOf(node)
	if h.problem != "" {
		t.Fatal(h.problem)
	}
	return h
}

const (
	shared4    = "sharing: {timeSlicing: {resources: [{name: gpu, replicas: 4}]}}"
	sharedMIG  = "sharing: {timeSlicing: {resources: [{name: mig-1g.10gb, replicas: 3}]}}"
	renamedMIG = "sharing: {timeSlicing: {renameByDefault: true, resources: [{name: mig-1g.10gb, replicas: 3}]}}"
	mps4       = "sharing: {mps: {resources: [{name: gpu, replicas: 4}]}}"
)

// TestMIG: what the plugin offers (nil: it refuses to start) and some labels of GFD; the empty value
// of a label means that it is not there.
func TestMIG(t *testing.T) {
	for name, c := range map[string]struct {
		strategy, mig, file string
		offered             map[string]slots
		labels              map[string]string
	}{
		"none does not notice MIG": {"none", `{"1g.10gb":7}`, shared4, map[string]slots{gpuResource: {8, 8}},
			map[string]string{"gpu.count": "2", "gpu.replicas": "0", "gpu.product": a100, "gpu.sharing-strategy": "none",
				"gpu.memory": "81920", "mig.strategy": "", "mig-1g.10gb.count": ""}},
		"single, not cut": {"single", "", shared4, map[string]slots{gpuResource: {8, 8}},
			map[string]string{"gpu.count": "2", "gpu.replicas": "4", "gpu.product": a100 + "-SHARED",
				"mig.strategy": "single", "gpu.slices.gi": ""}},
		"single": {"single", `{"1g.10gb":7}`, "", map[string]slots{gpuResource: {14, 14}},
			map[string]string{"gpu.count": "14", "gpu.replicas": "1", "gpu.product": a100 + "-MIG-1g.10gb",
				"gpu.sharing-strategy": "none", "gpu.memory": "9728", "gpu.multiprocessors": "14", "gpu.slices.gi": "1",
				"gpu.slices.ci": "1", "gpu.engines.copy": "1", "gpu.engines.encoder": "0", "gpu.family": "ampere"}},
		"single, shared": {"single", `{"3g.40gb":2}`, shared4, map[string]slots{gpuResource: {16, 16}},
			map[string]string{"gpu.count": "4", "gpu.replicas": "4", "gpu.product": a100 + "-MIG-3g.40gb-SHARED",
				"gpu.sharing-strategy": "time-slicing", "gpu.slices.gi": "3"}},
		"single, several profiles": {"single", `{"1g.10gb":2,"2g.20gb":1}`, shared4, nil,
			map[string]string{"gpu.count": "0", "gpu.replicas": "0", "gpu.product": a100 + "-MIG-INVALID",
				"gpu.memory": "0", "gpu.family": "ampere", "gpu.slices.gi": ""}},
		"single, one GPU of two": {"single", `[{"1g.10gb":7},null]`, shared4, nil,
			map[string]string{"gpu.count": "0", "gpu.product": a100 + "-MIG-INVALID"}},
		"single, on but empty": {"single", `[{"1g.10gb":7},{}]`, shared4, nil,
			map[string]string{"gpu.count": "0", "gpu.product": a100 + "-MIG-INVALID"}},
		"mixed": {"mixed", `{"1g.10gb":2,"2g.20gb":1}`, shared4,
			map[string]slots{"nvidia.com/mig-1g.10gb": {4, 4}, "nvidia.com/mig-2g.20gb": {2, 2}},
			map[string]string{"gpu.count": "2", "gpu.replicas": "0", "gpu.product": a100, "gpu.sharing-strategy": "none",
				"mig.strategy": "mixed", "mig-1g.10gb.count": "4", "mig-1g.10gb.replicas": "1",
				"mig-1g.10gb.sharing-strategy": "none", "mig-1g.10gb.product": a100 + "-MIG-1g.10gb",
				"mig-2g.20gb.count": "2", "mig-2g.20gb.memory": "19968", "mig-2g.20gb.slices.ci": "2"}},
		"mixed, shared": {"mixed", `{"1g.10gb":7}`, sharedMIG, map[string]slots{"nvidia.com/mig-1g.10gb": {42, 42}},
			map[string]string{"mig-1g.10gb.count": "14", "mig-1g.10gb.replicas": "3",
				"mig-1g.10gb.sharing-strategy": "time-slicing", "mig-1g.10gb.product": a100 + "-MIG-1g.10gb-SHARED"}},
		"mixed, renamed": {"mixed", `{"1g.10gb":7}`, renamedMIG,
			map[string]slots{"nvidia.com/mig-1g.10gb.shared": {42, 42}},
			map[string]string{"mig-1g.10gb.replicas": "3", "mig-1g.10gb.product": a100 + "-MIG-1g.10gb"}},
		"mixed, one GPU of two": {"mixed", `[{"1g.10gb":7},null]`, shared4,
			map[string]slots{gpuResource: {4, 4}, "nvidia.com/mig-1g.10gb": {7, 7}},
			map[string]string{"gpu.count": "2", "gpu.replicas": "4", "gpu.product": a100 + "-SHARED",
				"mig-1g.10gb.count": "7", "mig-1g.10gb.replicas": "1"}},
		"mixed, on but empty": {"mixed", `{}`, shared4, map[string]slots{},
			map[string]string{"gpu.count": "2", "gpu.replicas": "0"}},
	} {
		h := cutInto(t, c.mig)
		config := parse(c.file, withMIG(c.strategy))
		if got := advertised(config, h); !maps.Equal(got, c.offered) {
			t.Errorf("%s: offered %v, want %v", name, got, c.offered)
		}
		if err := checkNode(thePlugin, config, h); (err != nil) != (c.offered == nil) {
			t.Errorf("%s: the plugin says %v", name, err)
		}
		labels := gfdLabels(config, h, 0)
		for key, want := range c.labels {
			if got := labels["nvidia.com/"+key]; got != want {
				t.Errorf("%s: %s is %q, want %q", name, key, got, want)
			}
		}
	}
}

func TestUnhealthyGPUTakesOneSlotOfEachResource(t *testing.T) {
	h := cutInto(t, `{"1g.10gb":7}`)
	h.unhealthy = 1
	if got := advertised(parse(shared4, asOperator), h)[gpuResource]; got != (slots{56, 55}) {
		t.Errorf("%v", got)
	}
}

func TestMPSRefusesMIG(t *testing.T) {
	cut := cutInto(t, `{"1g.10gb":7}`)
	for strategy, want := range map[string]programs{"single": thePlugin | theGFD, "none": theGFD} {
		config := parse(mps4, withMIG(strategy))
		for _, program := range []programs{thePlugin, theGFD, theMPSDaemon} {
			if err := checkNode(program, config, cut); (err != nil) != (want&program != 0) {
				t.Errorf("%s: program %d says %v", strategy, program, err)
			}
		}
	}
	if got := parse(mps4, withMIG("mixed")); got.OK {
		t.Error("MPS with MIG strategy mixed")
	}
}

func TestLayouts(t *testing.T) {
	for annotation, want := range map[string]string{
		`{"1g.10gb":8}`:                   "does not fit",
		`{"3g.40gb":2,"1g.10gb":1}`:       "does not fit", // slices are left, memory is not
		`{"1g.5gb":7}`:                    "no MIG profile",
		`{"1g.10gb":0}`:                   "0 devices",
		`"all-1g.10gb"`:                   "must be",
		`[{"1g.10gb":1},null,{}]`:         "3 layouts for 2 GPUs",
		`[null,{"7g.80gb":1}]`:            "",
		`{"1g.10gb":1,"2g.20gb":3}`:       "",
		`{"1g.20gb":3,"1g.10gb":2}`:       "",
		`{"4g.40gb":1,"3g.40gb":1}`:       "",
		`{"4g.40gb":1,"2g.20gb":1}`:       "",
		`{"4g.40gb":1,"2g.20gb":2}`:       "does not fit",
		`{"4g.40gb":1,"1g.20gb":2}`:       "",
		`{"2g.20gb":1,"1g.10gb":"twice"}`: "must be",
	} {
		_, err := readLayouts(annotation, 2, familyOf(a100, 81920))
		if (err == nil) != (want == "") || (err != nil && !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, want %q", annotation, err, want)
		}
	}
	if _, err := readLayouts("{}", 1, familyOf("NVIDIA-A10", 23028)); err == nil {
		t.Error("an A10 has no MIG")
	}
}

func TestNamedConfigs(t *testing.T) {
	small, large := familyOf("NVIDIA-A100-SXM4-40GB", 40960), familyOf("NVIDIA-H100-80GB-HBM3", 81559)
	for _, c := range []struct {
		*family
		name, cut   string
		known, fits bool
	}{
		{small, "all-disabled", "", true, true},
		{small, "all-enabled", "{}", true, true},
		{small, "all-1g.5gb", `{"1g.5gb":7}`, true, true},
		{small, "all-1g.10gb", `{"1g.10gb":4}`, true, true},
		{small, "all-2g.10gb", `{"2g.10gb":3}`, true, true},
		{small, "all-3g.20gb", `{"3g.20gb":2}`, true, true},
		{small, "all-7g.40gb", `{"7g.40gb":1}`, true, true},
		{small, "all-balanced", `{"1g.5gb":2,"2g.10gb":1,"3g.20gb":1}`, true, true},
		{small, "all-7g.80gb", "", true, false},
		{large, "all-1g.10gb", `{"1g.10gb":7}`, true, true},
		{large, "all-2g.20gb", `{"2g.20gb":3}`, true, true},
		{large, "all-3g.40gb", `{"3g.40gb":2}`, true, true},
		{large, "all-7g.80gb", `{"7g.80gb":1}`, true, true},
		{large, "all-1g.5gb", "", true, false},
		{large, "all-1g.11gb", "", false, false},
		{large, "mine", "", false, false},
	} {
		cut, known, fits := c.namedConfig(c.name)
		if layoutNote(cut) != c.cut || known != c.known || fits != c.fits {
			t.Errorf("%s: %v, known %v, fits %v", c.name, cut, known, fits)
		}
		if fits && c.family.check(cut) != nil {
			t.Errorf("%s: %v", c.name, c.family.check(cut))
		}
	}
}

func TestLabelsThatGFDNoLongerWritesGo(t *testing.T) {
	have := gfdLabels(parse("", withMIG("mixed")), cutInto(t, `{"1g.10gb":7}`), 0)
	have["nvidia.com/gpu.present"], have["nvidia.com/mig.config"] = "true", "all-1g.10gb"
	have["nvidia.com/gpu.deploy.device-plugin"], have["nvidia.com/device-plugin.config"] = "true", "dev"
	change := labelChange(have, gfdLabels(parse("", withMIG("none")), cutInto(t, ""), 0))
	if value, ok := change["nvidia.com/mig-1g.10gb.count"]; !ok || value != nil {
		t.Errorf("label of a MIG device: %v", value)
	}
	change = labelChange(have, nil)
	for _, key := range []string{"gpu.present", "mig.config", "gpu.deploy.device-plugin", "device-plugin.config"} {
		if _, touched := change["nvidia.com/"+key]; touched {
			t.Errorf("%s is not GFD's", key)
		}
	}
	if len(change) != len(have)-4 {
		t.Errorf("%d of %d labels go", len(change), len(have))
	}
}
