// SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// crashes are the pauses of the plugin's container, which is started this often and exits each time.
func (s *stage) crashes(times int) []time.Duration {
	s.Helper()
	var pauses []time.Duration
	restarts := s.agent.main.restarts
	for range 10_000 {
		s.step(s.now, s.world)
		if s.agent.main.restarts > restarts {
			restarts = s.agent.main.restarts
			pauses = append(pauses, s.agent.main.retryAt.Sub(s.now))
		}
		if len(pauses) == times {
			return pauses
		}
		at := s.next(s.world)
		if at.IsZero() {
			break
		}
		s.now = at
	}
	s.Fatalf("%d restarts only", len(pauses))
	return nil
}

// Pauses as the kubelet makes them: at once, 10 s, 20 s ... 5 minutes.
func TestBackOffGrows(t *testing.T) {
	s := newStage(t, "default", map[string]string{"default": slicing(4), "bad": slicing(1)})
	s.crashBackoff, s.crashBackoffMax = 10*time.Second, 300*time.Second
	s.pass(time.Second)
	s.label = "bad"
	s.pass(0)
	if pause := s.agent.main.retryAt.Sub(s.now); pause != 300*time.Millisecond || s.agent.main.backingOff {
		t.Errorf("first pause %s", pause)
	}
	var want []time.Duration
	for _, seconds := range []time.Duration{10, 20, 40, 80, 160, 300, 300} {
		want = append(want, seconds*time.Second)
	}
	if got := s.crashes(7); !slices.Equal(got, want) {
		t.Errorf("pauses %v, want %v", got, want)
	}
	s.label = "default"
	s.pass(10 * time.Minute)
	s.expect("repaired", 4, true)
	s.pass(15 * time.Minute)
	s.label = "bad"
	s.pass(0)
	if s.agent.main.backingOff {
		t.Error("a container that ran for long begins anew")
	}
}

func TestStateOfAContainerThatCrashes(t *testing.T) {
	s := newStage(t, "default", map[string]string{"default": slicing(1)})
	s.pass(300 * time.Millisecond) // started, and refused its file
	state := func() corev1.ContainerState {
		return containerStatus(corev1.Container{Name: pluginName}, &s.agent.main, true).State
	}
	if got := state(); got.Terminated == nil {
		t.Errorf("after the first crash: %+v", got)
	}
	s.pass(400 * time.Millisecond)
	if got := state(); got.Waiting == nil || got.Waiting.Reason != "CrashLoopBackOff" {
		t.Errorf("after the second: %+v", got)
	}
}

// The files of a pod are brought up to date a moment after its annotations change, or one of its
// containers ends; before it they are as they were.
func TestWhatRefreshesFiles(t *testing.T) {
	s := newStage(t, "default", map[string]string{"default": slicing(4)})
	s.refresh, s.propagation = exactly(900*time.Millisecond), time.Hour
	s.pass(time.Minute)
	s.edit(map[string]string{"default": slicing(4), "dev": slicing(8)})
	s.annotate(map[string]string{"touched": "now"}, s.now, s.settings)
	s.pass(800 * time.Millisecond)
	if _, there := s.files(s.now, s.world)["dev"]; there {
		t.Error("too early")
	}
	s.pass(100 * time.Millisecond)
	s.label = "dev"
	s.pass(0)
	s.expect("annotated", 8, true)
	s.pass(time.Second)

	s.edit(map[string]string{"default": slicing(4), "dev": slicing(8), "late": slicing(3)})
	s.label = "late"
	s.pass(0)
	s.expect("the side-car has not found it", 8, false)
	s.pass(5 * time.Second)
	s.expect("its crash has brought the file", 3, true)
}

// An Xid error costs one slot, until the plugin starts anew: then it finds all healthy.
func TestErrorOfAGPULastsUntilThePluginReadsAFile(t *testing.T) {
	s := newStage(t, "default", map[string]string{"default": slicing(4), "dev": slicing(8)})
	s.hardware.gpus = 2
	expect := func(what string, want slots) {
		t.Helper()
		s.pass(time.Second)
		if got := s.serves(s.hardware)[gpuResource]; got != want {
			t.Errorf("%s: %v, want %v", what, got, want)
		}
	}
	s.hardware.unhealthy = 1
	expect("an error of before it started", slots{8, 8})
	s.hardware.unhealthy = 2
	expect("another one", slots{8, 7})
	s.label = "dev"
	expect("another file", slots{16, 16})
	s.hardware.unhealthy = 0
	expect("repaired", slots{16, 16})
	s.hardware.unhealthy = 2
	expect("both of them", slots{16, 14})
}

// A resource that is no longer served is forgotten after a while, and remembered when it comes back.
func TestForgottenResources(t *testing.T) {
	s := newStage(t, "default", map[string]string{"default": slicing(4)})
	s.forget, s.publishPeriod = time.Minute, 0
	s.pass(time.Second)
	st := &nodeState{agents: map[string]*agent{pluginApp: s.agent}, gone: map[string]time.Time{}}
	plan := func() []time.Time {
		st.plan("node", s.hardware, s.now, s.settings, true)
		return st.forgetting("node", s.settings)
	}
	if got := plan(); len(got) != 0 {
		t.Errorf("served: %v", got)
	}
	delete(st.agents, pluginApp)
	gone := s.now
	for range 2 {
		if got := plan(); len(got) != 1 || !got[0].Equal(gone.Add(time.Minute)) {
			t.Errorf("gone: %v", got)
		}
		s.now = s.now.Add(10 * time.Second)
	}
	st.agents[pluginApp] = s.agent
	if got := plan(); len(got) != 0 {
		t.Errorf("back: %v", got)
	}
}
