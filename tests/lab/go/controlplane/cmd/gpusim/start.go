// SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	spec "github.com/NVIDIA/k8s-device-plugin/api/config/v1"
)

// checkNode refuses what the start of a program refuses on this node, after the checks of
// checkStart (v0.19.3).
func checkNode(program programs, config parsed, h hardware) error {
	mps := config.spec.Sharing.SharingStrategy() == spec.SharingStrategyMPS
	switch program {
	case thePlugin:
		return checkPluginOn(config, h, mps)
	case theGFD:
		if mps && h.cutGPUs() > 0 { // whatever the MIG strategy
			return errors.New("MPS does not share MIG devices, and a GPU of the node is in MIG mode")
		}
	case theMPSDaemon:
		if !mps {
			return nil
		}
		if _, err := devicesOf(h, migStrategyOf(config)); err != nil {
			return err
		}
		return checkClients(config.spec, cardOf(h.product).clients())
	}
	return nil
}

func checkPluginOn(config parsed, h hardware, mps bool) error {
	if imex := config.spec.Imex; imex.Required && len(imex.ChannelIDs) > 0 {
		return fmt.Errorf("the node has no IMEX channels, but %v are required", imex.ChannelIDs)
	}
	strategy := migStrategyOf(config)
	if _, err := devicesOf(h, strategy); err != nil {
		return err
	}
	if mps && strategy != spec.MigStrategyNone && len(h.migDevices()) > 0 {
		return errors.New("MPS does not share MIG devices")
	}
	return nil
}

// checkInjected is a fault that only this node's plugin meets, and only once it runs: it does not start
// with so many replicas of anything, or with a file that has some text in it.
func checkInjected(program programs, config parsed, content, refuse string) error {
	if program != thePlugin || refuse == "" {
		return nil
	}
	found := strings.Contains(content, refuse)
	if replicas, err := strconv.Atoi(refuse); err == nil {
		found = slices.ContainsFunc(config.Resources, func(r parsedResource) bool { return r.Replicas == replicas })
	}
	if found {
		return fmt.Errorf("annotation %s: %s", annotationRefuse, refuse)
	}
	return nil
}

func migStrategyOf(config parsed) string { return *config.spec.Flags.MigStrategy }

// devicesOf are the plugin's devices by resource name, before sharing.
func devicesOf(h hardware, strategy string) (map[string]slots, error) {
	found := map[string]slots{}
	for gpu := range h.gpus {
		for name, count := range devicesOn(h.cut(gpu), strategy) {
			s := found[name]
			s.total, s.healthy = s.total+count, s.healthy+count
			if gpu < h.unhealthy && count > 0 {
				s.healthy--
			}
			found[name] = s
		}
	}
	if strategy == spec.MigStrategySingle {
		return found, checkUniform(h)
	}
	return found, nil
}

// devicesOn are the devices of one GPU. With strategy none MIG goes unnoticed.
func devicesOn(cut layout, strategy string) map[string]int {
	if cut == nil || strategy == spec.MigStrategyNone {
		return map[string]int{gpuResource: 1}
	}
	found := map[string]int{}
	for name, count := range cut {
		if strategy == spec.MigStrategySingle {
			found[gpuResource] += count
		} else {
			found[migResource(name)] += count
		}
	}
	return found
}

func migResource(profile string) string { return resourcePrefix + "mig-" + profile }

// checkUniform: strategy single wants every GPU of the node cut alike, or none.
func checkUniform(h hardware) error {
	switch enabled := h.cutGPUs(); {
	case enabled == 0:
		return nil
	case h.emptyGPU() >= 0:
		return fmt.Errorf("MIG strategy single: GPU %d is in MIG mode but has no MIG devices", h.emptyGPU())
	case len(h.migDevices()) > 1:
		return errors.New("MIG strategy single: more than one MIG profile on the node")
	case enabled < h.gpus:
		return errors.New("MIG strategy single: some GPUs are in MIG mode and some are not")
	}
	return nil
}

// mpsServed are the resources for which the MPS daemon of a node has a server: those that are
// shared. None while it does not run.
func mpsServed(daemon *agent, h hardware) map[string]bool {
	served := map[string]bool{}
	if daemon == nil || daemon.loaded == nil || daemon.loaded.config.Strategy != string(spec.SharingStrategyMPS) {
		return served
	}
	config := daemon.loaded.config
	devices, err := devicesOf(h, migStrategyOf(config))
	if err != nil {
		return served
	}
	for _, r := range config.Resources {
		if devices[r.Name].total > 0 {
			served[r.advertised()] = true
		}
	}
	return served
}
