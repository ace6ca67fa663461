// SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"strings"
	"time"

	spec "github.com/NVIDIA/k8s-device-plugin/api/config/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	semver "k8s.io/apimachinery/pkg/util/version"
)

// container is one container of a pod as the kubelet sees it.
type container struct {
	running            bool
	startedAt, endedAt time.Time
	restarts           int
	failure            string    // why it ended last; it stays known after a restart
	retryAt            time.Time // while it waits to be started again
	backoff            time.Duration
	backingOff         bool // it waits longer than a first crash makes it
}

func (c *container) due(now time.Time) bool { return !c.running && !now.Before(c.retryAt) }

func (c *container) start(now time.Time) {
	if !c.startedAt.IsZero() {
		c.restarts++
	}
	c.running, c.startedAt, c.retryAt = true, now, time.Time{}
}

// crash ends a container, and the kubelet starts it again: at once the first time, then after a pause
// that doubles up to a limit. One that has run for twice that limit starts from the beginning.
func (c *container) crash(now time.Time, s settings, why error) {
	c.running, c.endedAt, c.failure = false, now, why.Error()
	c.backingOff = c.backoff > 0 && now.Sub(c.startedAt) <= 2*s.crashBackoffMax
	if !c.backingOff {
		c.retryAt, c.backoff = now.Add(s.restart.take()), s.crashBackoff
		return
	}
	c.retryAt, c.backoff = now.Add(c.backoff), min(2*c.backoff, max(s.crashBackoff, s.crashBackoffMax))
}

// loaded is the file that a main container works with, and what its GPUs were like by then.
type loaded struct {
	key       string
	sha256    string
	since     time.Time
	config    parsed
	mig       []layout
	unhealthy int // errors of before do not count: who starts finds every GPU healthy
}

// world is what an agent can look at.
type world struct {
	settings
	label    string // value of the config label on its node
	hardware hardware
	mps      map[string]bool // resources that the MPS daemon of its node serves
	history  *history
	parser   *parser
}

// agent is one pod that carries config-manager: the plugin, GFD or the MPS daemon. Its rules are
// those of config-manager v0.18.2 to v0.20.0:
//   - the init container, and the side-car whenever it starts, first choose the default key and
//     only then hear of the node label;
//   - a choice is a symbolic link; a new link sends SIGHUP to the main container, which then
//     reads the file as it is mounted at that moment.
type agent struct {
	uid         types.UID
	name        string
	managed     bool   // config-manager is there
	deaf        bool   // it is older than v0.18.2 and misses that the label is removed
	configMap   string // namespace/name of what it mounts
	defaultKey  string
	env         environment
	annotations map[string]string

	startAt     time.Time // containers start then
	mountFailed bool
	reported    bool // the event about it has been written
	mounted     bool
	propagation time.Duration // edited files reach it so much later, when nothing else happens to it
	refreshed   time.Time     // last moment at which the kubelet brought the files up to date
	refreshAt   time.Time     // and the next, when something has made it look

	init, main, side container
	initDone         bool
	link             string // key that the link points to; "" is the empty config
	heard            string // label value that the side-car has acted on
	labelAt          time.Time
	settled          bool // the side-car has survived its first look at the label
	loaded           *loaded
	idle             string    // why the main container runs but does not serve
	again            time.Time // then it reads its file again
}

func newAgent(pod *corev1.Pod, now time.Time, s settings) *agent {
	a := &agent{uid: pod.UID, name: pod.Name, annotations: pod.Annotations, startAt: now.Add(s.restart.take()),
		propagation: s.filePropagation.take()}
	for _, c := range pod.Spec.Containers {
		if c.Name == sidecarName {
			a.managed, a.defaultKey, a.deaf = true, envOf(c, "DEFAULT_CONFIG"), missesRemoval(c.Image)
		} else {
			a.env = environment{migStrategy: envOf(c, "MIG_STRATEGY"), mpsRoot: envOf(c, "MPS_ROOT"),
				pluginDefaults: c.Name == pluginName, starts: programOf(c.Name)}
		}
	}
	for _, v := range pod.Spec.Volumes {
		if v.ConfigMap != nil && a.managed && v.Name == v.ConfigMap.Name {
			a.configMap = pod.Namespace + "/" + v.ConfigMap.Name
		}
	}
	return a
}

// programOf is the program of a main container, by the container's name.
func programOf(container string) programs {
	return map[string]programs{pluginName: thePlugin, gfdApp: theGFD, mpsName: theMPSDaemon}[container]
}

// missesRemoval: config-manager before v0.18.2 does not hear of a label that is removed.
func missesRemoval(image string) bool {
	tag, err := semver.ParseGeneric(image[strings.LastIndex(image, ":")+1:])
	return err == nil && tag.LessThan(semver.MustParseGeneric("0.18.2"))
}

func envOf(c corev1.Container, name string) string {
	for _, e := range c.Env {
		if e.Name == name {
			return e.Value
		}
	}
	return ""
}

// annotate notes the annotations of the pod; a change makes the kubelet refresh its files.
func (a *agent) annotate(annotations map[string]string, now time.Time, s settings) {
	if !maps.Equal(a.annotations, annotations) {
		a.annotations, a.refreshAt = annotations, now.Add(s.refresh.take())
	}
}

// crash is the end of a container, which makes the kubelet refresh the pod's files as well.
func (a *agent) crash(c *container, now time.Time, w world, why error) {
	c.crash(now, w.settings, why)
	a.refreshAt = now.Add(w.refresh.take())
}

// step does everything that is due.
func (a *agent) step(now time.Time, w world) {
	if !a.mounted && !a.mount(now, w) {
		return
	}
	if !a.refreshAt.IsZero() && !now.Before(a.refreshAt) {
		a.refreshed, a.refreshAt = a.refreshAt, time.Time{}
	}
	if a.managed && !a.initDone {
		if !a.init.due(now) {
			return
		}
		a.runInit(now, w)
		if !a.initDone {
			return
		}
	}
	if a.main.due(now) {
		a.main.start(now)
		a.load(now, w)
	}
	if a.main.running && a.outdated(now, w) {
		a.load(now, w)
	}
	if a.loaded != nil {
		a.loaded.unhealthy = min(a.loaded.unhealthy, w.hardware.unhealthy)
	}
	if !a.managed {
		return
	}
	if a.side.due(now) {
		a.side.start(now)
		a.heard, a.labelAt, a.settled = "", now.Add(w.switchDelay.take()), false
		a.choose("", now, w)
	}
	if a.side.running && !now.Before(a.labelAt) {
		if a.heard != w.label && !(a.deaf && w.label == "") {
			a.heard = w.label
			a.choose(w.label, now, w)
		}
		a.settled = a.side.running
	}
}

// next is when something becomes due without anything happening outside; zero when never.
func (a *agent) next(w world) time.Time {
	switch {
	case !a.mounted && a.mountFailed:
		return time.Time{}
	case !a.mounted:
		return a.startAt
	case a.managed && !a.initDone:
		return earliest(a.init.retryAt, a.refreshAt)
	}
	soonest := earliest(earliest(a.main.retryAt, a.side.retryAt), a.again)
	soonest = earliest(soonest, a.refreshAt)
	if a.side.running && !a.settled {
		soonest = earliest(soonest, a.labelAt)
	}
	return soonest
}

func (a *agent) mount(now time.Time, w world) bool {
	if now.Before(a.startAt) {
		return false
	}
	if a.configMap != "" && w.history.current(a.configMap) == nil {
		a.mountFailed = true
		return false
	}
	if a.mountFailed { // the ConfigMap has come: the kubelet mounts it and starts the pod
		a.mountFailed, a.startAt = false, now.Add(w.restart.take())
		return false
	}
	a.mounted, a.refreshed = true, now
	return true
}

func (a *agent) runInit(now time.Time, w world) {
	a.init.start(now)
	key, err := a.resolve("", a.files(now, w))
	if err != nil {
		a.crash(&a.init, now, w, err)
		return
	}
	a.init.running, a.init.endedAt = false, now
	a.link, a.initDone = key, true
}

func (a *agent) files(now time.Time, w world) map[string]string {
	return w.history.mounted(a.configMap, a.refreshed, now.Add(-a.propagation))
}

// resolve is the key for a label value, out of the files that are mounted.
func (a *agent) resolve(label string, files map[string]string) (string, error) {
	if len(files) == 0 {
		return "", errors.New("no configuration files available")
	}
	key := label
	if key == "" {
		key = a.defaultKey
	}
	if _, ok := files[key]; key != "" && !ok {
		return "", fmt.Errorf("specified config %s does not exist", key)
	}
	return key, nil
}

// choose is what the side-car does with a label value: move the link, send SIGHUP.
func (a *agent) choose(label string, now time.Time, w world) {
	files := a.files(now, w)
	key, err := a.resolve(label, files)
	if err == nil && key == a.link {
		return
	}
	if _, there := files[a.link]; err == nil && a.link != "" && !there {
		err = errors.New("error creating symlink: file exists") // a dangling link is not removed
	}
	if err == nil {
		a.link = key
		if !a.main.running {
			err = fmt.Errorf("error sending signal: no process found")
		}
	}
	if err != nil {
		a.crash(&a.side, now, w, err)
		return
	}
	a.load(now, w)
}

// load makes the main container read its file; what it refuses makes it exit.
func (a *agent) load(now time.Time, w world) {
	a.loaded, a.idle, a.again = nil, "", time.Time{}
	content, there := "", true
	if a.link != "" {
		content, there = a.files(now, w)[a.link]
	}
	if !there {
		a.crash(&a.main, now, w, fmt.Errorf("error opening config file: %s: no such file", a.link))
		return
	}
	config := w.parser.parse(content, a.env)
	if !config.OK {
		a.crash(&a.main, now, w, errors.New(config.Error))
		return
	}
	err := checkNode(a.env.starts, config, w.hardware)
	if err == nil {
		err = checkInjected(a.env.starts, config, content, w.hardware.refuse)
	}
	if err != nil {
		a.crash(&a.main, now, w, err)
		return
	}
	a.loaded = &loaded{a.link, fmt.Sprintf("%x", sha256.Sum256([]byte(content))), now, config, w.hardware.mig,
		w.hardware.unhealthy}
	if a.idle = a.waitsFor(config, w); a.idle != "" {
		a.again = now.Add(w.mpsRetry.take())
	}
}

// waitsFor is why the plugin does not serve what it has loaded: it asks the MPS daemon when it
// starts, and never again once it serves.
func (a *agent) waitsFor(config parsed, w world) string {
	if a.env.starts != thePlugin || config.Strategy != string(spec.SharingStrategyMPS) {
		return ""
	}
	for name := range advertised(config, w.hardware) {
		if !w.mps[name] {
			return "the MPS control daemon does not serve " + name
		}
	}
	return ""
}

// outdated: the plugin waits and tries again, or somebody has changed MIG under a running program,
// which then acts as if it had been restarted.
func (a *agent) outdated(now time.Time, w world) bool {
	if !a.again.IsZero() && !now.Before(a.again) {
		return true
	}
	return a.loaded != nil && !reflect.DeepEqual(a.loaded.mig, w.hardware.mig)
}

// serves is what the plugin offers, an error of a GPU since its start having cost a slot.
func (a *agent) serves(h hardware) map[string]slots {
	if a == nil || a.loaded == nil || a.idle != "" {
		return nil
	}
	h.unhealthy = max(h.unhealthy-a.loaded.unhealthy, 0)
	return advertised(a.loaded.config, h)
}

// ready: every container runs.
func (a *agent) ready() bool {
	return a.main.running && (a.sideShown().running || !a.managed)
}

// sideShown is the side-car as the kubelet reports it: one that is about to crash again is not
// seen running in between.
func (a *agent) sideShown() *container {
	if a.side.running && a.side.failure != "" && !a.settled {
		shown := a.side
		shown.running = false
		return &shown
	}
	return &a.side
}

// failure is why the pod is not ready or does not serve, for the annotation on the node.
func (a *agent) failure() string {
	switch {
	case a.ready():
		return a.idle
	case a.mountFailed:
		return "ConfigMap " + a.configMap + " not found"
	case a.managed && !a.initDone:
		return a.init.failure
	case !a.main.running:
		return a.main.failure
	}
	return a.side.failure
}

func earliest(a, b time.Time) time.Time {
	if a.IsZero() || (!b.IsZero() && b.Before(a)) {
		return b
	}
	return a
}
