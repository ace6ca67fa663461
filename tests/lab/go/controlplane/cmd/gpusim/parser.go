// SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	spec "github.com/NVIDIA/k8s-device-plugin/api/config/v1"
	cli "github.com/urfave/cli/v2"
)

// parsed is what NVIDIA's plugin makes of one config file. Resources and their renames are as the
// plugin uses them; Config is the whole file as it was understood, before the plugin drops what it
// does not support (rename, devices, resources). A file with a Config and an Error has been parsed,
// but a program refuses to start with it.
type parsed struct {
	OK                         bool             `json:"ok"`
	Error                      string           `json:"error,omitempty"`
	Strategy                   string           `json:"strategy,omitempty"`
	RenameByDefault            bool             `json:"renameByDefault"`
	FailRequestsGreaterThanOne bool             `json:"failRequestsGreaterThanOne"`
	Resources                  []parsedResource `json:"resources"`
	Config                     json.RawMessage  `json:"config,omitempty"`

	spec *spec.Config // as the plugin uses it; nil when the file is refused
}

type parsedResource struct {
	Name     string `json:"name"`
	Rename   string `json:"rename,omitempty"`
	Replicas int    `json:"replicas"`
}

// environment is what the operator sets on a container beside the file.
type environment struct {
	migStrategy, mpsRoot string   // not set when empty
	pluginDefaults       bool     // PASS_DEVICE_SPECS, FAIL_ON_INIT_ERROR, DEVICE_*_STRATEGY are set
	starts               programs // whose start follows the parsing
}

// programs are those that read the file; each checks something of its own once it is parsed.
type programs uint8

const (
	thePlugin programs = 1 << iota
	theGFD
	theMPSDaemon
)

// parser asks NVIDIA's own code and remembers the answers.
type parser struct {
	mu    sync.Mutex
	known map[string]parsed
}

func newParser() *parser { return &parser{known: map[string]parsed{}} }

func (p *parser) parse(content string, env environment) parsed {
	key := fmt.Sprintf("%x %v", sha256.Sum256([]byte(content)), env)
	p.mu.Lock()
	defer p.mu.Unlock()
	if result, ok := p.known[key]; ok {
		return result
	}
	result := parse(content, env)
	p.known[key] = result
	return result
}

func parse(content string, env environment) parsed {
	config, err := loadConfig(content, env)
	if err != nil {
		return refused(err)
	}
	whole, err := json.Marshal(config)
	if err != nil { // the plugin prints it as well, and fails in the same way
		return refused(err)
	}
	spec.DisableResourceNamingInConfig(config)
	if err := checkStart(config, env.starts); err != nil {
		result := refused(err)
		result.Config = whole
		return result
	}
	shared := config.Sharing.ReplicatedResources()
	result := parsed{
		OK:                         true,
		Strategy:                   string(config.Sharing.SharingStrategy()),
		RenameByDefault:            shared.RenameByDefault,
		FailRequestsGreaterThanOne: shared.FailRequestsGreaterThanOne,
		Resources:                  []parsedResource{},
		Config:                     whole,
		spec:                       config,
	}
	for _, r := range shared.Resources {
		result.Resources = append(result.Resources,
			parsedResource{Name: string(r.Name), Rename: string(r.Rename), Replicas: r.Replicas})
	}
	return result
}

func refused(err error) parsed {
	return parsed{Error: err.Error(), Resources: []parsedResource{}}
}

// loadConfig runs NewConfig, which takes a command line, not bytes. A file that makes it panic is
// refused: the plugin would die of it.
func loadConfig(content string, env environment) (config *spec.Config, err error) {
	defer func() {
		if what := recover(); what != nil {
			config, err = nil, fmt.Errorf("panic: %v", what)
		}
	}()
	file, err := os.CreateTemp(scratch(), "gpusim-*.yaml")
	if err != nil {
		return nil, err
	}
	defer os.Remove(file.Name())
	if _, err = io.WriteString(file, content); err == nil {
		err = file.Close()
	}
	if err != nil {
		return nil, err
	}
	arguments := []string{"nvidia-device-plugin", "--config-file", file.Name()}
	if env.pluginDefaults {
		arguments = append(arguments, "--pass-device-specs=true", "--fail-on-init-error=true",
			"--device-list-strategy=envvar", "--device-id-strategy=uuid")
	}
	if env.migStrategy != "" {
		arguments = append(arguments, "--mig-strategy="+env.migStrategy)
	}
	if env.mpsRoot != "" {
		arguments = append(arguments, "--mps-root="+env.mpsRoot)
	}
	app := cli.NewApp()
	app.Writer, app.ErrWriter = io.Discard, io.Discard
	app.Flags = pluginFlags()
	app.Action = func(c *cli.Context) error {
		config, err = spec.NewConfig(c, app.Flags)
		return err
	}
	if err := app.Run(arguments); err != nil {
		return nil, err
	}
	return config, nil
}

// scratch is a folder in memory where there is one, unless TMPDIR names another.
func scratch() string {
	const memory = "/dev/shm"
	if info, err := os.Stat(memory); os.Getenv("TMPDIR") == "" && err == nil && info.IsDir() {
		return memory
	}
	return ""
}

// pluginFlags are the flags of the plugin that have a counterpart in the file.
func pluginFlags() []cli.Flag {
	flags := []cli.Flag{
		&cli.StringSliceFlag{Name: "device-list-strategy",
			Value: cli.NewStringSlice(spec.DeviceListStrategyEnvVar)},
		&cli.BoolFlag{Name: "fail-on-init-error", Value: true},
		&cli.IntSliceFlag{Name: "imex-channel-ids"},
	}
	for _, name := range []string{"pass-device-specs", "gdrcopy-enabled", "gds-enabled",
		"mofed-enabled", "imex-required"} {
		flags = append(flags, &cli.BoolFlag{Name: name})
	}
	for name, value := range map[string]string{
		"config-file":               "",
		"mig-strategy":              spec.MigStrategyNone,
		"mps-root":                  "",
		"driver-root":               "/",
		"dev-root":                  "",
		"device-id-strategy":        spec.DeviceIDStrategyUUID,
		"cdi-annotation-prefix":     spec.DefaultCDIAnnotationPrefix,
		"nvidia-cdi-hook-path":      spec.DefaultNvidiaCTKPath,
		"container-driver-root":     spec.DefaultContainerDriverRoot,
		"device-discovery-strategy": "auto",
	} {
		flags = append(flags, &cli.StringFlag{Name: name, Value: value})
	}
	return flags
}

// checkStart refuses what the start of each program refuses once the file has been parsed, on
// whatever node with NVML it runs (v0.19.3). What depends on the node is in start.go.
func checkStart(config *spec.Config, of programs) error {
	if of&thePlugin != 0 {
		if err := checkPlugin(config); err != nil {
			return err
		}
	}
	if of&theGFD != 0 {
		if err := checkGFD(config); err != nil {
			return fmt.Errorf("GPU feature discovery: %w", err)
		}
	}
	if of&theMPSDaemon != 0 {
		if err := checkClients(config, mostClients); err != nil {
			return fmt.Errorf("MPS control daemon: %w", err)
		}
	}
	return nil
}

func checkPlugin(config *spec.Config) error {
	if _, err := spec.NewDeviceListStrategies(*config.Flags.Plugin.DeviceListStrategy); err != nil {
		return fmt.Errorf("invalid device list strategy: %w", err)
	}
	if !oneOf(*config.Flags.Plugin.DeviceIDStrategy, spec.DeviceIDStrategyUUID, spec.DeviceIDStrategyIndex) {
		return fmt.Errorf("invalid device ID strategy: %v", *config.Flags.Plugin.DeviceIDStrategy)
	}
	if config.Sharing.SharingStrategy() == spec.SharingStrategyMPS {
		if *config.Flags.MigStrategy == spec.MigStrategyMixed {
			return errors.New("MPS does not go with MIG strategy mixed")
		}
		if config.Flags.MpsRoot == nil || *config.Flags.MpsRoot == "" {
			return errors.New("MPS needs an MPS root")
		}
	}
	if !oneOf(*config.Flags.DeviceDiscoveryStrategy, "auto", "nvml", "tegra") {
		return fmt.Errorf("invalid device discovery strategy: %v", *config.Flags.DeviceDiscoveryStrategy)
	}
	if err := checkMIGStrategy(config); err != nil {
		return err
	}
	return spec.AssertChannelIDsValid(config.Imex.ChannelIDs)
}

func checkGFD(config *spec.Config) error {
	if !oneOf(*config.Flags.DeviceDiscoveryStrategy, "auto", "nvml", "tegra", "vfio") {
		return fmt.Errorf("invalid device discovery strategy: %v", *config.Flags.DeviceDiscoveryStrategy)
	}
	return checkMIGStrategy(config)
}

func checkMIGStrategy(config *spec.Config) error {
	if !oneOf(*config.Flags.MigStrategy, spec.MigStrategyNone, spec.MigStrategySingle, spec.MigStrategyMixed) {
		return fmt.Errorf("unknown MIG strategy: %v", *config.Flags.MigStrategy)
	}
	return nil
}

// mostClients is what an MPS server takes on any GPU; older ones take fewer.
const mostClients = 48

// checkClients refuses more replicas of a GPU than its MPS server takes clients. Entries for other
// resources match no device: MPS does not go with MIG.
func checkClients(config *spec.Config, most int) error {
	if config.Sharing.SharingStrategy() != spec.SharingStrategyMPS {
		return nil
	}
	for _, r := range config.Sharing.MPS.Resources {
		if r.Name == gpuResource && r.Replicas > most {
			return fmt.Errorf("%d replicas, but an MPS server takes at most %d clients", r.Replicas, most)
		}
	}
	return nil
}

func oneOf(value string, allowed ...string) bool {
	for _, candidate := range allowed {
		if value == candidate {
			return true
		}
	}
	return false
}
