// SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"flag"
	"time"
)

// settings are the delays of the simulation; gpulab/fleet.py has the same names and defaults.
type settings struct {
	labelLag, filePropagation, restart, publish  time.Duration
	switchDelay, crashBackoff, statusLag, expiry time.Duration
	mpsRetry, migApply                           time.Duration
	operatorOnly                                 bool
}

func (s *settings) register(flags *flag.FlagSet) {
	flags.DurationVar(&s.labelLag, "label-lag", 300*time.Millisecond, "GFD labels follow allocatable by this much")
	flags.DurationVar(&s.filePropagation, "file-propagation", 2*time.Second, "an edited ConfigMap reaches mounted files")
	flags.DurationVar(&s.restart, "restart", 300*time.Millisecond, "pod seen on the node until its containers start")
	flags.DurationVar(&s.publish, "publish", 200*time.Millisecond, "file loaded until the node status shows it")
	flags.DurationVar(&s.switchDelay, "switch-delay", 300*time.Millisecond, "default loaded until the side-car reads the label")
	flags.DurationVar(&s.crashBackoff, "crash-backoff", time.Second, "pause before a crashed container starts again")
	flags.DurationVar(&s.statusLag, "status-lag", 500*time.Millisecond, "ClusterPolicy stays ready after a change")
	flags.DurationVar(&s.mpsRetry, "mps-retry", time.Second, "plugin finds no MPS daemon until it tries again")
	flags.DurationVar(&s.migApply, "mig-apply", time.Second, "mig-manager changes the layout, its clients being gone")
	flags.BoolVar(&s.operatorOnly, "operator-only", false, "nodes, plugin and GFD are real: play the operator alone")
	flags.DurationVar(&s.expiry, "label-expiry", 3*time.Second, "DaemonSet of GFD gone until its labels go")
}
