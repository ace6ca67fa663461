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
		env := environment{}
		flags.StringVar(&env.migStrategy, "mig-strategy", "single", "MIG_STRATEGY as the operator sets it; empty: not set")
		flags.StringVar(&env.mpsRoot, "mps-root", "/run/nvidia/mps", "MPS_ROOT as the operator sets it; empty: not set")
		flags.BoolVar(&env.checkFlags, "flags-check", true, "refuse what the plugin refuses after parsing")
		lines := flags.Bool("lines", false, "read JSON strings, one a line; answer one JSON object a line")
		_ = flags.Parse(arguments[1:])
		klog.SetOutput(io.Discard)
		klog.LogToStderr(false)
		return answer(os.Stdin, os.Stdout, env, *lines)
	}
	return fmt.Errorf("unknown command %q: use run or parse", arguments[0])
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
