// SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	spec "github.com/NVIDIA/k8s-device-plugin/api/config/v1"
	cli "github.com/urfave/cli/v2"
)

// parsed is what NVIDIA's plugin makes of one config file.
type parsed struct {
	OK                         bool             `json:"ok"`
	Error                      string           `json:"error,omitempty"`
	Strategy                   string           `json:"strategy,omitempty"`
	RenameByDefault            bool             `json:"renameByDefault"`
	FailRequestsGreaterThanOne bool             `json:"failRequestsGreaterThanOne"`
	Resources                  []parsedResource `json:"resources"`
}

type parsedResource struct {
	Name     string `json:"name"`
	Rename   string `json:"rename,omitempty"`
	Replicas int    `json:"replicas"`
}

// environment is what the operator sets on the plugin container beside the file.
type environment struct {
	migStrategy string
	mpsRoot     string
	checkFlags  bool // the plugin checks its flags after parsing, GFD does not
}

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
		return parsed{Error: err.Error(), Resources: []parsedResource{}}
	}
	spec.DisableResourceNamingInConfig(config)
	if env.checkFlags {
		if err := checkFlags(config); err != nil {
			return parsed{Error: err.Error(), Resources: []parsedResource{}}
		}
	}
	shared := config.Sharing.ReplicatedResources()
	result := parsed{
		OK:                         true,
		Strategy:                   string(config.Sharing.SharingStrategy()),
		RenameByDefault:            shared.RenameByDefault,
		FailRequestsGreaterThanOne: shared.FailRequestsGreaterThanOne,
		Resources:                  []parsedResource{},
	}
	for _, r := range shared.Resources {
		result.Resources = append(result.Resources,
			parsedResource{Name: string(r.Name), Rename: string(r.Rename), Replicas: r.Replicas})
	}
	return result
}

// loadConfig runs NewConfig, which takes a command line, not bytes.
func loadConfig(content string, env environment) (*spec.Config, error) {
	file, err := os.CreateTemp("", "gpusim-*.yaml")
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
	arguments := []string{"nvidia-device-plugin", "--config-file", file.Name(),
		"--pass-device-specs=true", "--fail-on-init-error=true",
		"--device-list-strategy=envvar", "--device-id-strategy=uuid"}
	if env.migStrategy != "" {
		arguments = append(arguments, "--mig-strategy="+env.migStrategy)
	}
	if env.mpsRoot != "" {
		arguments = append(arguments, "--mps-root="+env.mpsRoot)
	}
	var config *spec.Config
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

// checkFlags refuses what the plugin's own start refuses once the file has been parsed
// (v0.19.3, on a node with NVML).
func checkFlags(config *spec.Config) error {
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
	if !oneOf(*config.Flags.MigStrategy, spec.MigStrategyNone, spec.MigStrategySingle, spec.MigStrategyMixed) {
		return fmt.Errorf("unknown MIG strategy: %v", *config.Flags.MigStrategy)
	}
	return spec.AssertChannelIDsValid(config.Imex.ChannelIDs)
}

func oneOf(value string, allowed ...string) bool {
	for _, candidate := range allowed {
		if value == candidate {
			return true
		}
	}
	return false
}
