// SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"fmt"
	"maps"
	"testing"
	"time"
)

func mps(replicas int) string {
	return fmt.Sprintf("sharing: {mps: {resources: [{name: nvidia.com/gpu, replicas: %d}]}}", replicas)
}

func TestPluginWaitsForTheMPSDaemon(t *testing.T) {
	s := newStage(t, "default", map[string]string{"default": slicing(4), "mps": mps(8)})
	s.pass(time.Second)
	s.label = "mps"
	s.pass(0)
	s.expect("no daemon", 0, true)
	if s.failure() == "" {
		t.Error("nothing tells why")
	}
	s.mps = map[string]bool{gpuResource: true}
	s.pass(29 * time.Second)
	s.expect("not asked again yet", 0, true)
	s.pass(time.Second)
	s.expect("daemon", 8, true)
	s.mps = nil
	s.pass(time.Hour)
	s.expect("the daemon has gone, nobody asks", 8, true)
	s.label = ""
	s.pass(0)
	s.expect("time-slicing", 4, true)
	s.label = "mps"
	s.pass(0)
	s.expect("and back", 0, true)
}

func TestPluginReadsItsFileAgainWhileItWaits(t *testing.T) {
	s := newStage(t, "default", map[string]string{"default": mps(8)})
	s.pass(time.Second)
	s.expect("no daemon", 0, true)
	s.edit(map[string]string{"default": slicing(4)})
	s.pass(time.Minute)
	s.expect("edited", 4, true)
}

func TestClientsOfAnMPSServer(t *testing.T) {
	for product, most := range map[string]int{"Tesla-V100-SXM2-16GB": 16, "Tesla-T4": 48, "NVIDIA-A10": 48, a100: 48} {
		for replicas, fits := range map[int]bool{most: true, most + 1: false} {
			config := parse(mps(replicas), environment{mpsRoot: "/mps"})
			err := checkNode(theMPSDaemon, config, hardware{gpus: 1, product: product})
			if (err == nil) != fits {
				t.Errorf("%s, %d replicas: %v", product, replicas, err)
			}
			if err := checkNode(thePlugin, config, hardware{gpus: 1, product: product}); err != nil {
				t.Errorf("%s, %d replicas: only the daemon looks: %v", product, replicas, err)
			}
		}
	}
}

func TestWhatTheMPSDaemonServes(t *testing.T) {
	for file, want := range map[string]map[string]bool{
		slicing(4): {},
		mps(4):     {gpuResource: true},
		"sharing: {mps: {renameByDefault: true, resources: [{name: gpu, replicas: 4}]}}": {gpuResource + ".shared": true},
		"sharing: {mps: {resources: [{name: mig-1g.5gb, replicas: 4}]}}":                 {}, // the plugin waits for ever
	} {
		daemon := &agent{loaded: &loaded{config: parse(file, asOperator)}}
		if got := mpsServed(daemon, hardware{gpus: 1}); !maps.Equal(got, want) {
			t.Errorf("%s: %v, want %v", file, got, want)
		}
	}
	if got := mpsServed(nil, hardware{gpus: 1}); len(got) != 0 {
		t.Errorf("no daemon: %v", got)
	}
}
