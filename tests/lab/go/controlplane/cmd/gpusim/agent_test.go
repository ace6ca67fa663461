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

const configMap = "gpu-operator/profiles"

// stage is one plugin pod on a node, with a clock of its own.
type stage struct {
	*testing.T
	world
	*agent
	now time.Time
}

func slicing(replicas int) string {
	return fmt.Sprintf("sharing: {timeSlicing: {resources: [{name: nvidia.com/gpu, replicas: %d}]}}", replicas)
}

func newStage(t *testing.T, defaultKey string, files map[string]string) *stage {
	t.Helper()
	s := &stage{T: t, now: time.Unix(1000, 0)}
	s.world = world{
		settings: settings{filePropagation: exactly(2 * time.Second), restart: exactly(300 * time.Millisecond),
			refresh: exactly(100 * time.Millisecond), switchDelay: exactly(300 * time.Millisecond),
			crashBackoff: time.Second, crashBackoffMax: time.Second, mpsRetry: exactly(30 * time.Second)},
		hardware: hardware{gpus: 1, product: "NVIDIA-A10"},
		history:  newHistory(2 * time.Second), parser: newParser(),
	}
	s.edit(files)
	s.pod(defaultKey)
	return s
}

// pod starts a new pod, as after a deletion.
func (s *stage) pod(defaultKey string) {
	policy := policySpec{}
	policy.DevicePlugin.Config = &struct {
		Name    string `json:"name"`
		Default string `json:"default"`
	}{"profiles", defaultKey}
	set := daemonSet(operands()[0], policy, "gpu-operator", metav1.OwnerReference{})
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "gpu-operator"}, Spec: set.Spec.Template.Spec}
	s.agent = newAgent(pod, s.now, s.settings)
}

func (s *stage) edit(files map[string]string) { s.history.record(configMap, files, s.now) }

// pass lets time go by, waking the agent when it asked for it.
func (s *stage) pass(d time.Duration) {
	end := s.now.Add(d)
	s.step(s.now, s.world)
	for range 10_000 {
		at := s.next(s.world)
		if at.IsZero() || at.After(end) {
			break
		}
		s.now = at
		s.step(s.now, s.world)
	}
	s.now = end
}

// expect compares slots on a node of one GPU; 0 means that the plugin serves nothing.
func (s *stage) expect(what string, slots int, ready bool) {
	s.Helper()
	got := 0
	if s.loaded != nil && s.idle == "" {
		got = advertised(s.loaded.config, s.hardware)[gpuResource].total
	}
	if got != slots || s.ready() != ready {
		s.Errorf("%s: %d slots, ready %v (%s); want %d, %v", what, got, s.ready(), s.failure(), slots, ready)
	}
}

// Plugins before v0.18.2 keep the profile of a label that is removed; another label they act on.
func TestRemovedLabelIsMissedByOldPlugins(t *testing.T) {
	for image, slots := range map[string]int{"plugin:v0.17.4": 8, "plugin:v0.18.2": 4, "plugin@sha256:aa": 4} {
		s := newStage(t, "default", map[string]string{"default": slicing(4), "dev": slicing(8), "two": slicing(2)})
		s.deaf = missesRemoval(image)
		s.label = "dev"
		s.pass(time.Second)
		s.label = ""
		s.pass(time.Second)
		s.expect(image, slots, true)
		s.label = "two"
		s.pass(0)
		s.expect(image+", another label", 2, true)
	}
}

func TestLabelIsActedOnAtOnce(t *testing.T) {
	s := newStage(t, "default", map[string]string{"default": slicing(4), "dev": slicing(8)})
	s.pass(time.Second)
	s.expect("default", 4, true)
	s.label = "dev"
	s.pass(0)
	s.expect("label", 8, true)
	s.label = ""
	s.pass(0)
	s.expect("label removed", 4, true)
}

func TestContentIsReadOnlyOnRestartOrLabel(t *testing.T) {
	s := newStage(t, "default", map[string]string{"default": slicing(4), "dev": slicing(8)})
	s.pass(time.Second)
	s.edit(map[string]string{"default": slicing(6), "dev": slicing(9)})
	s.pass(time.Minute)
	s.expect("edited", 4, true)
	s.pod("default")
	s.pass(time.Second)
	s.expect("restarted", 6, true)
}

func TestEditedFilesArriveLateUnlessAnnotated(t *testing.T) {
	for annotated, want := range map[bool]int{false: 8, true: 9} {
		s := newStage(t, "default", map[string]string{"default": slicing(4), "dev": slicing(8)})
		s.pass(time.Minute)
		s.edit(map[string]string{"default": slicing(4), "dev": slicing(9)})
		s.pass(time.Second)
		if annotated {
			s.annotate(map[string]string{"touched": "now"}, s.now, s.settings)
			s.pass(100 * time.Millisecond)
		}
		s.label = "dev"
		s.pass(0)
		s.expect(fmt.Sprint("annotated ", annotated), want, true)
	}
}

func TestRestartShowsDefaultFirst(t *testing.T) {
	s := newStage(t, "default", map[string]string{"default": slicing(4), "dev": slicing(8)})
	s.label = "dev"
	s.pass(400 * time.Millisecond)
	s.expect("before the side-car looks", 4, true)
	s.pass(time.Second)
	s.expect("after", 8, true)
}

func TestMissingKey(t *testing.T) {
	s := newStage(t, "default", map[string]string{"default": slicing(4), "dev": slicing(8)})
	s.label = "dev"
	s.pass(time.Second)
	s.label = "nokey"
	s.pass(0)
	s.expect("side-car crashed", 8, false)
	s.pass(10 * time.Second)
	s.expect("side-car was restarted and took the default", 4, false)
	s.label = "dev"
	s.pass(2 * time.Second)
	s.expect("recovered", 8, true)
}

func TestMissingDefault(t *testing.T) {
	s := newStage(t, "default", map[string]string{"dev": slicing(8)})
	s.label = "dev"
	s.pass(time.Minute)
	s.expect("init crash-loops", 0, false)
	s.edit(map[string]string{"dev": slicing(8), "default": slicing(4)})
	s.pass(5 * time.Second)
	s.expect("default came", 8, true)
}

func TestMissingConfigMap(t *testing.T) {
	s := newStage(t, "default", nil)
	s.pass(time.Minute)
	s.expect("not mounted", 0, false)
	s.edit(map[string]string{"default": slicing(4)})
	s.pass(time.Second)
	s.expect("mounted", 4, true)
}

func TestRefusedFile(t *testing.T) {
	s := newStage(t, "default", map[string]string{"default": slicing(4), "bad": slicing(1)})
	s.pass(time.Second)
	s.label = "bad"
	s.pass(time.Second)
	s.expect("refused", 0, false)
	s.edit(map[string]string{"default": slicing(4), "bad": slicing(2)})
	s.pass(4 * time.Second)
	s.expect("repaired", 2, true)
	s.label = "nokey"
	s.pass(5 * time.Second)
	s.label = ""
	s.pass(2 * time.Second)
	s.expect("back to default", 4, true)
}

func TestRefusedFileThenGoodLabel(t *testing.T) {
	s := newStage(t, "default", map[string]string{"default": slicing(4), "bad": slicing(1), "dev": slicing(8)})
	s.label = "bad"
	s.pass(5 * time.Second)
	s.expect("refused", 0, false)
	s.label = "dev"
	s.pass(5 * time.Second)
	s.expect("good label", 8, true)
}

func TestInjectedRefusal(t *testing.T) {
	for refuse, slots := range map[string]int{"6": 0, "replicas: 6": 0, "replicas: 7": 6, "16": 6, "": 6} {
		s := newStage(t, "default", map[string]string{"default": slicing(4), "dev": slicing(6)})
		s.hardware.refuse = refuse
		s.pass(time.Second)
		s.expect("another file", 4, true)
		s.label = "dev"
		s.pass(5 * time.Second)
		s.expect("refuse "+refuse, slots, slots > 0)
		s.pod("default")
		s.pass(5 * time.Second)
		s.expect("refuse "+refuse+", new pod", slots, slots > 0)
		s.hardware.refuse = ""
		s.pass(5 * time.Second)
		s.expect("taken back", 6, true)
	}
}

func TestInjectedRefusalIsOfThePluginAlone(t *testing.T) {
	env := environment{starts: theGFD}
	if err := checkInjected(theGFD, parse(slicing(6), env), slicing(6), "6"); err != nil {
		t.Error(err)
	}
}

func TestDanglingLink(t *testing.T) {
	s := newStage(t, "default", map[string]string{"default": slicing(4), "old": slicing(2), "dev": slicing(8)})
	s.label = "old"
	s.pass(time.Second)
	s.edit(map[string]string{"default": slicing(4), "dev": slicing(8)})
	s.pass(time.Minute)
	s.expect("key deleted in use", 2, true)
	s.label = "dev"
	s.pass(time.Minute)
	s.expect("link is in the way", 2, false)
	s.pod("default")
	s.pass(time.Second)
	s.expect("new pod", 8, true)
}

func TestNoDefaultMeansNoSharing(t *testing.T) {
	s := newStage(t, "", map[string]string{"default": slicing(4)})
	s.pass(time.Second)
	s.expect("empty config", 1, true)
	s.label = "default"
	s.pass(0)
	s.expect("label", 4, true)
}

func TestWithoutConfigManagerLabelsDoNothing(t *testing.T) {
	s := newStage(t, "", map[string]string{"dev": slicing(8)})
	set := daemonSet(operands()[0], policySpec{}, "gpu-operator", metav1.OwnerReference{})
	s.agent = newAgent(&corev1.Pod{Spec: set.Spec.Template.Spec}, s.now, s.settings)
	s.label = "dev"
	s.pass(time.Second)
	s.expect("no config-manager", 1, true)
}
