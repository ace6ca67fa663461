// SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// migStage is a node with mig-manager: what it writes is in effect at once.
type migStage struct {
	*testing.T
	migManager
	corev1.Node
	clients bool
	now     time.Time
}

func newMIGStage(t *testing.T, config, state string) *migStage {
	return &migStage{T: t, clients: true, now: time.Unix(1000, 0), Node: corev1.Node{ObjectMeta: metav1.ObjectMeta{
		Annotations: map[string]string{annotationGPUs: "2", annotationProduct: a100, annotationMemory: "81920"},
		Labels: map[string]string{labelMIG: config, labelMIGState: state, deployPlugin: "true", deployGFD: "true",
			"nvidia.com/gpu.deploy.dcgm": "false"},
	}}}
}

func (s *migStage) step(d time.Duration) {
	s.now = s.now.Add(d)
	s.act(s.Labels, hardwareOf(&s.Node), s.clients, s.now, time.Second)
	if s.write == nil {
		return
	}
	for target, change := range map[*map[string]string]map[string]any{
		&s.Labels: s.write.labels, &s.Annotations: s.write.annotations} {
		for key, value := range change {
			if value == nil {
				delete(*target, key)
			} else {
				(*target)[key] = fmt.Sprint(value)
			}
		}
	}
	s.write = nil
}

func (s *migStage) expect(what, state, plugin, annotation string) {
	s.Helper()
	have := []string{s.Labels[labelMIGState], s.Labels[deployPlugin], s.Annotations[annotationMIG]}
	if want := []string{state, plugin, annotation}; fmt.Sprint(have) != fmt.Sprint(want) {
		s.Errorf("%s: %v, want %v", what, have, want)
	}
	if s.Labels["nvidia.com/gpu.deploy.dcgm"] != "false" {
		s.Errorf("%s: what somebody has switched off stays off", what)
	}
}

func TestMIGChange(t *testing.T) {
	s := newMIGStage(t, configDisabled, "")
	s.step(0)
	s.expect("nothing to change", migSuccess, "true", "")
	s.Labels[labelMIG] = "all-3g.40gb"
	s.step(0)
	s.expect("begun", migPending, migPaused, "")
	s.step(time.Minute)
	s.expect("pods are still there", migPending, migPaused, "")
	s.clients = false
	s.step(0)
	s.step(999 * time.Millisecond)
	s.expect("applying", migPending, migPaused, "")
	s.step(time.Millisecond)
	s.expect("applied", migSuccess, "true", `{"3g.40gb":2}`)
	s.Labels[labelMIG] = configDisabled
	s.step(0)
	s.step(0)
	s.step(time.Second)
	s.expect("back", migSuccess, "true", "")
}

func TestMIGChangeThatFails(t *testing.T) {
	s := newMIGStage(t, "all-1g.11gb", migSuccess)
	s.acted, s.clients = configDisabled, false
	s.step(0)
	s.expect("unknown name", migFailed, "true", "")
	s.Labels[labelMIG] = "all-1g.5gb"
	s.step(0)
	s.expect("a name for other cards", migPending, migPaused, "")
	s.step(0)
	s.step(time.Second)
	s.expect("in MIG mode without devices", migFailed, "true", "{}")
}

func TestMIGNodeOfTheFleetFile(t *testing.T) {
	s := newMIGStage(t, "custom", migSuccess)
	s.Annotations[annotationMIG] = `{"1g.10gb":3}`
	s.step(0)
	s.expect("left alone", migSuccess, "true", `{"1g.10gb":3}`)
	s.Labels[labelMIG] = "other"
	s.step(0)
	s.expect("a new unknown name", migFailed, "true", `{"1g.10gb":3}`)
}

func TestMIGLabelChangedMeanwhileIsNext(t *testing.T) {
	s := newMIGStage(t, "all-1g.10gb", "")
	s.clients = false
	s.step(0)
	s.Labels[labelMIG] = "all-7g.80gb"
	s.step(0)
	s.step(time.Second)
	s.expect("first", migSuccess, "true", `{"1g.10gb":7}`)
	s.step(0)
	s.expect("second begun", migPending, migPaused, `{"1g.10gb":7}`)
}
