// SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"reflect"
	"strings"
	"testing"
)

func TestRefused(t *testing.T) {
	for file, want := range map[string]string{
		"sharing: {timeSlicing: {resources: [{name: gpu, replicas: 1}]}}":     "must be >= 2",
		"sharing: {timeSlicing: {}}":                                          "no resources specified",
		"sharing: {timeSlicing: {resources: []}}":                             "no resources specified",
		"sharing: {timeSlicing: {resources: [{name: gpu, replicas: \"4\"}]}}": "cannot unmarshal",
		"sharing: {timeSlicing: {resources: [{name: GPU, replicas: 4}]}}":     "incorrect format",
		"version: v2": "unknown version",
		"flags: {deviceDiscoveryStrategy: magic}":                  "discovery strategy",
		"imex: {channelIDs: [3]}":                                  "channelIDs",
		"sharing: {mps: {resources: [{name: gpu, replicas: 49}]}}": "at most 48 clients",
	} {
		if got := parse(file, asOperator); got.OK || !strings.Contains(got.Error, want) {
			t.Errorf("%s: %+v, want %q", file, got, want)
		}
	}
	shadowed := "flags: {migStrategy: magic}"
	if got := parse(shadowed, asOperator); !got.OK {
		t.Errorf("the operator's MIG_STRATEGY beats the file: %s", got.Error)
	}
	if got := parse(shadowed, environment{starts: thePlugin}); got.OK {
		t.Error("without MIG_STRATEGY the file counts")
	}
}

func TestRefusedAtStartIsToldWithWhatWasParsed(t *testing.T) {
	got := parse("imex: {channelIDs: [3]}", asOperator)
	if got.OK || !strings.Contains(string(got.Config), `"channelIDs":[3]`) {
		t.Errorf("%+v", got)
	}
	if got := parse("version: v2", asOperator); got.Config != nil {
		t.Errorf("nothing was parsed: %s", got.Config)
	}
}

func TestEachProgramChecksItsOwnStart(t *testing.T) {
	for file, refusing := range map[string]programs{
		"flags: {deviceDiscoveryStrategy: vfio}":                                           thePlugin,
		"flags: {deviceDiscoveryStrategy: magic}":                                          thePlugin | theGFD,
		"flags: {migStrategy: magic}":                                                      thePlugin | theGFD,
		"flags: {plugin: {deviceIDStrategy: magic}}":                                       thePlugin,
		"flags: {plugin: {deviceListStrategy: [envvar, magic]}}":                           thePlugin,
		"sharing: {mps: {resources: [{name: gpu, replicas: 49}]}}":                         thePlugin | theMPSDaemon, // no MPS root
		"flags: {mpsRoot: /mps}\nsharing: {mps: {resources: [{name: gpu, replicas: 49}]}}": theMPSDaemon,
		"flags: {mpsRoot: /mps}\nsharing: {mps: {resources: [{name: gpu, replicas: 48}]}}": 0,
	} {
		for _, program := range []programs{thePlugin, theGFD, theMPSDaemon} {
			got := parse(file, environment{starts: program})
			if want := refusing&program == 0; got.OK != want {
				t.Errorf("%s: program %d: ok %v (%s), want %v", file, program, got.OK, got.Error, want)
			}
		}
	}
}

const everything = `
version: v1
flags:
  migStrategy: mixed
  failOnInitError: false
  mpsRoot: /mps
  nvidiaDriverRoot: /drivers
  gdrcopyEnabled: true
  useNodeFeatureAPI: false
  deviceDiscoveryStrategy: nvml
  plugin: {passDeviceSpecs: false, deviceListStrategy: cdi-cri, deviceIDStrategy: index}
  gfd: {oneshot: true, sleepInterval: 90s, outputFile: /labels}
resources: {gpus: [{pattern: "*", name: gpu.mine}], mig: [{pattern: 1g*, name: small}]}
sharing:
  timeSlicing: {resources: [{name: gpu, rename: gpu.mine, devices: [0, "1:2"], replicas: 4}]}
imex: {channelIDs: [0], required: true}
`

// TestConfigIsEverythingThatWasParsed: with no environment the file's flags are seen.
func TestConfigIsEverythingThatWasParsed(t *testing.T) {
	got := parse(everything, environment{starts: thePlugin | theGFD})
	if !got.OK {
		t.Fatal(got.Error)
	}
	var have, want map[string]any
	if err := json.Unmarshal(got.Config, &have); err != nil {
		t.Fatal(err)
	}
	const expected = `{
		"version": "v1",
		"flags": {
			"migStrategy": "mixed", "failOnInitError": false, "mpsRoot": "/mps", "nvidiaDriverRoot": "/drivers",
			"nvidiaDevRoot": "/drivers", "gdrcopyEnabled": true, "gdsEnabled": false, "mofedEnabled": false,
			"useNodeFeatureAPI": false, "deviceDiscoveryStrategy": "nvml",
			"plugin": {"passDeviceSpecs": false, "deviceListStrategy": ["cdi-cri"], "deviceIDStrategy": "index",
				"cdiAnnotationPrefix": "cdi.k8s.io/", "nvidiaCTKPath": "/usr/bin/nvidia-ctk",
				"containerDriverRoot": "/driver-root"},
			"gfd": {"oneshot": true, "noTimestamp": null, "sleepInterval": "1m30s", "outputFile": "/labels",
				"machineTypeFile": null}
		},
		"resources": {"gpus": [{"pattern": "*", "name": "nvidia.com/gpu.mine"}],
			"mig": [{"pattern": "1g*", "name": "nvidia.com/small"}]},
		"sharing": {"timeSlicing": {"resources": [{"name": "nvidia.com/gpu", "rename": "nvidia.com/gpu.mine",
			"devices": ["0", "1:2"], "replicas": 4}]}},
		"imex": {"channelIDs": [0], "required": true}
	}`
	if err := json.Unmarshal([]byte(expected), &want); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(have, want) {
		t.Errorf("have %s", got.Config)
	}
	if got.Resources[0].Rename != "" {
		t.Errorf("the plugin drops the rename: %+v", got.Resources)
	}
}

func TestOperatorShadowsFlags(t *testing.T) {
	shadowed := string(parse(everything, asOperator).Config)
	for _, part := range []string{`"migStrategy":"single"`, `"failOnInitError":true`, `"mpsRoot":"/run/nvidia/mps"`,
		`"passDeviceSpecs":true`, `"deviceListStrategy":["envvar"]`, `"deviceIDStrategy":"uuid"`} {
		if !strings.Contains(shadowed, part) {
			t.Errorf("no %s in %s", part, shadowed)
		}
	}
}

func TestParseOptions(t *testing.T) {
	read := func(arguments ...string) (environment, error) {
		return parseEnvironment(flag.NewFlagSet("test", flag.ContinueOnError), arguments)
	}
	if env, err := read(); err != nil || env != asOperator {
		t.Errorf("defaults: %+v, %v", env, err)
	}
	if env, err := read("--operator-env=false", "--flags-check=false"); err != nil || env != (environment{}) {
		t.Errorf("nothing set: %+v, %v", env, err)
	}
	if _, err := read("--operator-env=false", "--mps-root=/mps"); err == nil {
		t.Error("a variable of an environment that is not there")
	}
}

func TestAnswerLines(t *testing.T) {
	in := strings.NewReader("\"version: v1\"\n\"\\u0000\"\n")
	var out bytes.Buffer
	if err := answer(in, &out, environment{}, true); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != 2 || !strings.HasPrefix(lines[0], `{"ok":true`) || !strings.HasPrefix(lines[1], `{"ok":false`) {
		t.Errorf("%q", lines)
	}
}
