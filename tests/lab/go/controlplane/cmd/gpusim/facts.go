// SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"maps"
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
	annotationMIG     = "lab.gpufleet.sharing/mig"
	annotationBroken  = "lab.gpufleet.sharing/unhealthy"
	annotationOthers  = "lab.gpufleet.sharing/other-models"
	annotationRefuse  = "lab.gpufleet.sharing/refuse"
	annotationLoaded  = "lab.gpufleet.sharing/loaded"
)

// hardware is what is screwed into a node, read from its annotations.
type hardware struct {
	gpus, unhealthy int
	others          int // GPUs of another model, which the labels of GFD leave out
	memory          int // MiB per GPU
	product         string
	refuse          string   // what the plugin of this node does not start with
	mig             []layout // by GPU; those beyond the end are not in MIG mode
	problem         string   // what is wrong with an annotation
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
		memory: number(annotationMemory), product: node.Annotations[annotationProduct],
		refuse: node.Annotations[annotationRefuse]}
	h.unhealthy, h.others = min(h.unhealthy, h.gpus), min(number(annotationOthers), h.gpus)
	var err error
	if h.mig, err = readLayouts(node.Annotations[annotationMIG], h.gpus, familyOf(h.product, h.memory)); err != nil {
		h.problem = "annotation " + annotationMIG + ": " + err.Error()
	}
	return h
}

// slots of one resource: what is there and what is healthy. An error of a GPU (Xid) costs one device
// of each of its resources, however many replicas share it (plugin v0.19.3: of all devices with the
// GPU's UUID the health check knows one).
type slots struct{ total, healthy int }

// advertised is what the plugin offers with a loaded file: resource name -> slots. Of several
// entries for the same resource the largest counts; entries for unknown ones do nothing.
func advertised(config parsed, h hardware) map[string]slots {
	offered, err := devicesOf(h, migStrategyOf(config))
	if err != nil {
		return nil
	}
	devices := maps.Clone(offered)
	for _, r := range config.Resources {
		delete(offered, r.Name)
	}
	for _, r := range config.Resources {
		d, name := devices[r.Name], r.advertised()
		if d.total > 0 && offered[name].total < d.total*r.Replicas {
			offered[name] = slots{d.total * r.Replicas, d.total*r.Replicas - (d.total - d.healthy)}
		}
	}
	return offered
}

// advertised is the name under which the plugin offers a shared resource.
func (r parsedResource) advertised() string {
	if r.Rename != "" {
		return r.Rename
	}
	return r.Name
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

// clients is how many clients an MPS server takes on a card.
func (c card) clients() int {
	major, _ := strconv.Atoi(c.major)
	minor, _ := strconv.Atoi(c.minor)
	if major*10+minor >= 75 {
		return mostClients
	}
	return 16
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
