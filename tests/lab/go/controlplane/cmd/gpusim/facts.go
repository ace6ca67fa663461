// SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"fmt"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

const (
	resourcePrefix = "nvidia.com/"
	gpuResource    = resourcePrefix + "gpu"

	labelConfig       = "nvidia.com/device-plugin.config"
	annotationGPUs    = "lab.gpufleet.sharing/gpus"
	annotationProduct = "lab.gpufleet.sharing/product"
	annotationMemory  = "lab.gpufleet.sharing/memory"
	annotationBroken  = "lab.gpufleet.sharing/unhealthy"
	annotationLoaded  = "lab.gpufleet.sharing/loaded"
)

// hardware is what is screwed into a node, read from its annotations.
type hardware struct {
	gpus, unhealthy int
	memory          int // MiB per GPU
	product         string
}

func hardwareOf(node *corev1.Node) hardware {
	number := func(key string) int {
		n, err := strconv.Atoi(node.Annotations[key])
		if err != nil || n < 0 {
			return 0
		}
		return n
	}
	h := hardware{gpus: number(annotationGPUs), unhealthy: number(annotationBroken),
		memory: number(annotationMemory), product: node.Annotations[annotationProduct]}
	h.unhealthy = min(h.unhealthy, h.gpus)
	return h
}

// slots of one resource: what is there and what is healthy.
type slots struct{ total, healthy int }

// advertised is what the plugin offers with a loaded file: resource name -> slots.
// Entries for the same resource add up to the largest; entries for unknown ones do nothing.
func advertised(config parsed, h hardware) map[string]slots {
	offered := map[string]slots{}
	for _, r := range config.Resources {
		if r.Name != gpuResource {
			continue
		}
		name := r.Name
		if r.Rename != "" {
			name = r.Rename
		}
		if previous, ok := offered[name]; !ok || previous.total < h.gpus*r.Replicas {
			offered[name] = slots{h.gpus * r.Replicas, (h.gpus - h.unhealthy) * r.Replicas}
		}
	}
	if len(offered) == 0 {
		offered[gpuResource] = slots{h.gpus, h.gpus - h.unhealthy}
	}
	return offered
}

// gfdLabels are the labels of GPU feature discovery for a loaded file. Where a resource is
// listed twice, GFD looks at the first entry.
func gfdLabels(config parsed, h hardware, timestamp int64) map[string]string {
	replicas, suffix, strategy := 1, "", "none"
	for _, r := range config.Resources {
		if r.Name != gpuResource {
			continue
		}
		replicas, strategy = r.Replicas, config.Strategy
		if r.Rename == "" {
			suffix = "-SHARED"
		}
		break
	}
	card := cardOf(h.product)
	return map[string]string{
		"nvidia.com/gpu.count":                  strconv.Itoa(h.gpus),
		"nvidia.com/gpu.replicas":               strconv.Itoa(replicas),
		"nvidia.com/gpu.product":                sanitise(h.product) + suffix,
		"nvidia.com/gpu.memory":                 strconv.Itoa(h.memory),
		"nvidia.com/gpu.sharing-strategy":       strategy,
		"nvidia.com/gpu.family":                 card.family,
		"nvidia.com/gpu.compute.major":          card.major,
		"nvidia.com/gpu.compute.minor":          card.minor,
		"nvidia.com/gpu.mode":                   "compute",
		"nvidia.com/gpu.machine":                "gpufleet.sharing-lab",
		"nvidia.com/mig.capable":                strconv.FormatBool(card.mig),
		"nvidia.com/mps.capable":                strconv.FormatBool(config.Strategy == "mps"),
		"nvidia.com/cuda.driver-version.full":   "580.95.05",
		"nvidia.com/cuda.driver-version.major":  "580",
		"nvidia.com/cuda.runtime-version.full":  "13.0",
		"nvidia.com/cuda.runtime-version.major": "13",
		"nvidia.com/gfd.timestamp":              fmt.Sprint(timestamp),
	}
}

// card is what a product name tells.
type card struct {
	family, major, minor string
	mig                  bool
}

func cardOf(product string) card {
	for _, known := range []struct {
		part string
		card
	}{
		{"A100", card{"ampere", "8", "0", true}},
		{"A30", card{"ampere", "8", "0", true}},
		{"H100", card{"hopper", "9", "0", true}},
		{"H200", card{"hopper", "9", "0", true}},
		{"B200", card{"blackwell", "10", "0", true}},
		{"L40", card{"ada-lovelace", "8", "9", false}},
		{"L4", card{"ada-lovelace", "8", "9", false}},
		{"T4", card{"turing", "7", "5", false}},
		{"V100", card{"volta", "7", "0", false}},
	} {
		if strings.Contains(product, known.part) {
			return known.card
		}
	}
	return card{"ampere", "8", "6", false}
}

// sanitise makes a product name a label value, as GFD does.
func sanitise(product string) string {
	kept := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', strings.ContainsRune("-_. ", r):
			return r
		}
		return -1
	}, product)
	return strings.Join(strings.Fields(kept), "-")
}
