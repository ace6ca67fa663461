// SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
// SPDX-License-Identifier: GPL-3.0-or-later

// Command gpusim simulates the GPU Operator, the device plugin and GPU feature discovery on the
// nodes of a laboratory cluster. `gpusim parse` asks NVIDIA's own parser about a config file.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"k8s.io/klog/v2"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	if err := command(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "gpusim:", err)
		os.Exit(1)
	}
}

func command(ctx context.Context, arguments []string) error {
	if len(arguments) == 0 {
		return fmt.Errorf("usage: gpusim run|parse [flags]")
	}
	flags := flag.NewFlagSet("gpusim "+arguments[0], flag.ExitOnError)
	switch arguments[0] {
	case "run":
		var s settings
		s.register(flags)
		kubeconfig := flags.String("kubeconfig", "", "credentials of the simulator")
		readyFile := flags.String("ready-file", "", "file to write once the caches are filled")
		_ = flags.Parse(arguments[1:])
		return run(ctx, *kubeconfig, *readyFile, s)
	case "parse":
		lines := flags.Bool("lines", false, "read JSON strings, one a line; answer one JSON object a line")
		env, err := parseEnvironment(flags, arguments[1:])
		if err != nil {
			return err
		}
		klog.SetOutput(io.Discard)
		klog.LogToStderr(false)
		return answer(os.Stdin, os.Stdout, env, *lines)
	}
	return fmt.Errorf("unknown command %q: use run or parse", arguments[0])
}

// parseEnvironment reads the options of `gpusim parse`.
func parseEnvironment(flags *flag.FlagSet, arguments []string) (environment, error) {
	env := environment{}
	flags.BoolVar(&env.pluginDefaults, "operator-env", true, "the environment that the operator sets beats the file; "+
		"false: no variable is set at all")
	flags.StringVar(&env.migStrategy, "mig-strategy", "single", "MIG_STRATEGY as the operator sets it; empty: not set")
	flags.StringVar(&env.mpsRoot, "mps-root", "/run/nvidia/mps", "MPS_ROOT as the operator sets it; empty: not set")
	check := flags.Bool("flags-check", true, "refuse what plugin, GFD or MPS daemon refuse after parsing")
	if err := flags.Parse(arguments); err != nil {
		return env, err
	}
	if *check {
		env.starts = thePlugin | theGFD | theMPSDaemon
	}
	if env.pluginDefaults {
		return env, nil
	}
	var err error
	flags.Visit(func(given *flag.Flag) {
		if given.Name == "mig-strategy" || given.Name == "mps-root" {
			err = fmt.Errorf("--%s is part of the operator's environment: not with --operator-env=false", given.Name)
		}
	})
	env.migStrategy, env.mpsRoot = "", ""
	return env, err
}

// answer prints what the plugin makes of one file, or of each line's file.
func answer(in io.Reader, out io.Writer, env environment, lines bool) error {
	encoder := json.NewEncoder(out)
	encoder.SetEscapeHTML(false)
	if !lines {
		content, err := io.ReadAll(in)
		if err != nil {
			return err
		}
		return encoder.Encode(parse(string(content), env))
	}
	scanner := bufio.NewScanner(in)
	scanner.Buffer(nil, 16<<20)
	for scanner.Scan() {
		var content string
		if err := json.Unmarshal(scanner.Bytes(), &content); err != nil {
			return fmt.Errorf("each line must be a JSON string: %w", err)
		}
		if err := encoder.Encode(parse(content, env)); err != nil {
			return err
		}
	}
	return scanner.Err()
}
