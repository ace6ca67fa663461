// SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"fmt"
	"maps"
	"strconv"
	"strings"

	spec "github.com/NVIDIA/k8s-device-plugin/api/config/v1"
)

// sharing is how GFD sees a resource shared: by the first entry of its name.
type sharing struct {
	replicas int
	strategy string
	suffix   string // of the product
}

// unshared is a GPU in MIG mode: GFD looks at no sharing for it.
var unshared = sharing{0, string(spec.SharingStrategyNone), ""}

func sharingOf(config parsed, resource string) sharing {
	for _, r := range config.Resources {
		if r.Name != resource {
			continue
		}
		s := sharing{r.Replicas, config.Strategy, "-SHARED"}
		if r.Rename != "" {
			s.suffix = ""
		}
		return s
	}
	return sharing{1, string(spec.SharingStrategyNone), ""}
}

// gfdLabels are the labels of GPU feature discovery for a loaded file: those of the machine, of the
// GPUs and, with a MIG strategy, of the MIG devices, which win.
func gfdLabels(config parsed, h hardware, timestamp int64) map[string]string {
	labels := map[string]string{"nvidia.com/vgpu.present": "false"}
	if flag := config.spec.Flags.GFD.NoTimestamp; flag == nil || !*flag {
		labels["nvidia.com/gfd.timestamp"] = fmt.Sprint(timestamp)
	}
	if h.gpus == 0 {
		return labels
	}
	maps.Copy(labels, machineLabels(config, h))
	maps.Copy(labels, gpuLabels(config, h))
	switch strategy := migStrategyOf(config); strategy {
	case spec.MigStrategySingle:
		labels["nvidia.com/mig.strategy"] = strategy
		maps.Copy(labels, singleLabels(config, h))
	case spec.MigStrategyMixed:
		labels["nvidia.com/mig.strategy"] = strategy
		for name, count := range h.migDevices() {
			maps.Copy(labels, migLabels(config, h, migResource(name), name, count))
		}
	}
	return labels
}

func machineLabels(config parsed, h hardware) map[string]string {
	return map[string]string{
		"nvidia.com/gpu.mode":                     "compute",
		"nvidia.com/gpu.machine":                  "gpufleet.sharing-lab",
		"nvidia.com/mig.capable":                  strconv.FormatBool(cardOf(h.product).mig),
		"nvidia.com/mps.capable":                  strconv.FormatBool(config.Strategy == string(spec.SharingStrategyMPS)),
		"nvidia.com/cuda.driver.major":            "580", // the old names are still written
		"nvidia.com/cuda.driver.minor":            "95",
		"nvidia.com/cuda.driver.rev":              "05",
		"nvidia.com/cuda.runtime.major":           "13",
		"nvidia.com/cuda.runtime.minor":           "0",
		"nvidia.com/cuda.driver-version.full":     "580.95.05",
		"nvidia.com/cuda.driver-version.major":    "580",
		"nvidia.com/cuda.driver-version.minor":    "95",
		"nvidia.com/cuda.driver-version.revision": "05",
		"nvidia.com/cuda.runtime-version.full":    "13.0",
		"nvidia.com/cuda.runtime-version.major":   "13",
		"nvidia.com/cuda.runtime-version.minor":   "0",
	}
}

// gpuLabels count every GPU, those in MIG mode too. Sharing is told where at least one is not.
func gpuLabels(config parsed, h hardware) map[string]string {
	shared := unshared
	if h.cutGPUs() < h.gpus {
		shared = sharingOf(config, gpuResource)
	}
	card := cardOf(h.product)
	labels := resourceLabels(gpuResource, h.gpus-h.others, shared, h.product)
	labels[gpuResource+".family"] = card.family
	labels[gpuResource+".compute.major"] = card.major
	labels[gpuResource+".compute.minor"] = card.minor
	if h.memory > 0 {
		labels[gpuResource+".memory"] = strconv.Itoa(h.memory)
	}
	return labels
}

// singleLabels put the MIG devices in the place of the GPUs, or say that the layout is invalid.
func singleLabels(config parsed, h hardware) map[string]string {
	if h.cutGPUs() == 0 {
		return nil
	}
	if checkUniform(h) != nil {
		labels := resourceLabels(gpuResource, 0, sharing{}, h.product, "MIG", "INVALID")
		labels[gpuResource+".memory"] = "0"
		return labels
	}
	labels := map[string]string{}
	for name, count := range h.migDevices() { // there is one
		labels = migLabels(config, h, gpuResource, name, count)
	}
	return labels
}

func migLabels(config parsed, h hardware, resource, name string, count int) map[string]string {
	labels := resourceLabels(resource, count, sharingOf(config, resource), h.product, "MIG", name)
	var device profile
	if f := familyOf(h.product, h.memory); f != nil {
		device = f.Profiles[name]
	}
	size, _ := sizeOf(name)
	for suffix, value := range map[string]int{
		"memory":          device.Memory,
		"multiprocessors": device.Multiprocessors,
		"slices.gi":       size,
		"slices.ci":       size,
		"engines.copy":    device.Copy,
		"engines.decoder": device.Decoder,
		"engines.encoder": 0,
		"engines.jpeg":    device.JPEG,
		"engines.ofa":     device.OFA,
	} {
		labels[resource+"."+suffix] = strconv.Itoa(value)
	}
	return labels
}

func resourceLabels(resource string, count int, shared sharing, parts ...string) map[string]string {
	for i := range parts {
		parts[i] = sanitise(parts[i])
	}
	return map[string]string{
		resource + ".product":          strings.Join(parts, "-") + shared.suffix,
		resource + ".count":            strconv.Itoa(count),
		resource + ".replicas":         strconv.Itoa(shared.replicas),
		resource + ".sharing-strategy": shared.strategy,
	}
}

// byGFD: GPU feature discovery writes labels of this name, so it also removes them.
func byGFD(key string) bool {
	name, ok := strings.CutPrefix(key, resourcePrefix)
	if !ok {
		return false
	}
	for _, prefix := range []string{"mig-", "cuda.", "gpu.compute.", "gpu.slices.", "gpu.engines."} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return gfdNames[name]
}

var gfdNames = map[string]bool{
	"gpu.product": true, "gpu.count": true, "gpu.replicas": true, "gpu.sharing-strategy": true, "gpu.memory": true,
	"gpu.multiprocessors": true, "gpu.family": true, "gpu.mode": true, "gpu.machine": true, "mig.capable": true,
	"mig.strategy": true, "mps.capable": true, "vgpu.present": true, "gfd.timestamp": true,
}
