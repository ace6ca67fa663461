// SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"flag"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"strings"
	"time"
)

// span is a delay: one duration, or a range out of which each one is drawn.
type span struct{ least, most time.Duration }

func exactly(d time.Duration) span { return span{d, d} }

// take draws a delay, any of the range being as likely as any other.
func (s span) take() time.Duration {
	if s.most <= s.least {
		return s.least
	}
	return s.least + rand.N(s.most-s.least+1)
}

func (s span) String() string {
	if s.least == s.most {
		return s.least.String()
	}
	return s.least.String() + ".." + s.most.String()
}

// Set reads "300ms" or "100ms..1s"; it makes a span a flag.
func (s *span) Set(text string) error {
	least, most, isRange := strings.Cut(text, "..")
	if !isRange {
		most = least
	}
	var read span
	var err error
	if read.least, err = time.ParseDuration(least); err != nil {
		return err
	}
	if read.most, err = time.ParseDuration(most); err != nil {
		return err
	}
	if read.least < 0 || read.most < read.least {
		return fmt.Errorf("%s is no range: the first duration is the shorter one", text)
	}
	*s = read
	return nil
}

// settings are the delays of the simulation; gpulab/timing.py has the same names, defaults, and what was
// seen on real nodes.
type settings struct {
	labelLag, filePropagation, refresh, restart, publish span
	switchDelay, statusLag, expiry, mpsRetry, migApply   span
	publishPeriod, crashBackoff, crashBackoffMax, forget time.Duration
	operatorOnly, nodesOnly                              bool
}

func (s *settings) register(flags *flag.FlagSet) {
	delay := func(target *span, name string, value time.Duration, usage string) {
		*target = exactly(value)
		flags.Var(target, name, usage)
	}
	delay(&s.labelLag, "label-lag", 300*time.Millisecond, "GFD labels follow what the plugin serves by this much")
	delay(&s.filePropagation, "file-propagation", 2*time.Second, "an edited ConfigMap reaches mounted files")
	delay(&s.refresh, "refresh", 100*time.Millisecond, "a pod is annotated or a container ends until its files are new")
	delay(&s.restart, "restart", 300*time.Millisecond, "pod seen, or container crashed once, until containers start")
	delay(&s.publish, "publish", 200*time.Millisecond, "file loaded until the kubelet knows of the devices")
	flags.DurationVar(&s.publishPeriod, "publish-period", 0, "the kubelet writes node status this often; 0: at once")
	delay(&s.switchDelay, "switch-delay", 300*time.Millisecond, "default loaded until the side-car reads the label")
	flags.DurationVar(&s.crashBackoff, "crash-backoff", time.Second, "pause after the second crash, then doubled")
	flags.DurationVar(&s.crashBackoffMax, "crash-backoff-max", time.Second, "longest pause between crashes")
	flags.DurationVar(&s.forget, "forget", 5*time.Minute, "a resource is not served until its capacity becomes 0")
	delay(&s.statusLag, "status-lag", 500*time.Millisecond, "ClusterPolicy stays ready after a change")
	delay(&s.mpsRetry, "mps-retry", time.Second, "plugin finds no MPS daemon until it tries again")
	delay(&s.migApply, "mig-apply", time.Second, "mig-manager changes the layout, its clients being gone")
	flags.BoolVar(&s.operatorOnly, "operator-only", false, "nodes, plugin and GFD are real: play the operator alone")
	flags.BoolVar(&s.nodesOnly, "nodes-only", false, "the operator is real: play nodes, plugin and GFD alone")
	delay(&s.expiry, "label-expiry", 3*time.Second, "DaemonSet of GFD gone until its labels go")
}

// written is when the kubelet of a node next writes its status: at once, or at the next beat of its
// own period. What was and is no more by then is never seen.
func (s settings) written(node string, ready time.Time) time.Time {
	if s.publishPeriod <= 0 {
		return ready
	}
	sum := fnv.New64a()
	_, _ = sum.Write([]byte(node))
	phase := time.Duration(sum.Sum64() % uint64(s.publishPeriod))
	since := time.Duration(ready.UnixNano()) - phase
	late := since % s.publishPeriod
	if late == 0 {
		return ready
	}
	return ready.Add(s.publishPeriod - late)
}
