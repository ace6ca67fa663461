// SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"
)

const (
	migPending = "pending"
	migSuccess = "success"
	migFailed  = "failed"
	migPaused  = "paused-for-mig-change"
)

// migClients are the switches of the pods that mig-manager stops while it works.
var migClients = []string{deployPlugin, deployGFD, "nvidia.com/gpu.deploy.dcgm", "nvidia.com/gpu.deploy.dcgm-exporter"}

// migManager is mig-manager on one node. It acts once on each value of the label mig.config; a
// change of the layout by somebody else is not undone.
type migManager struct {
	acted string // the value
	phase migPhase
	until time.Time // end of applying
	to    layout    // what is being applied
	fits  bool      // and whether the card can do it
	write *nodeChange
}

type migPhase int

const (
	migIdle migPhase = iota
	migStopping
	migApplying
)

// migRemoved: the label had gone in between, so the same value counts as new.
const migRemoved = "(removed)"

// nodeChange is a merge patch for the metadata of a node.
type nodeChange struct{ labels, annotations map[string]any }

// act does what is due and leaves in m.write what is to be written; clients: pods of plugin or GFD
// are still there.
func (m *migManager) act(labels map[string]string, h hardware, clients bool, now time.Time, takes time.Duration) {
	switch {
	case m.phase == migIdle && labels[labelMIG] != "" && labels[labelMIG] != m.acted:
		m.start(labels, h)
	case m.phase == migStopping && !clients:
		m.phase, m.until = migApplying, now.Add(takes)
	case m.phase == migApplying && !now.Before(m.until):
		m.finish(labels)
	}
}

func (m *migManager) start(labels map[string]string, h hardware) {
	card := familyOf(h.product, h.memory)
	if card == nil {
		card = &family{}
	}
	wanted, first := labels[labelMIG], m.acted == ""
	to, known, fits := card.namedConfig(wanted)
	m.acted, m.to, m.fits = wanted, to, fits
	switch {
	case !known && first && labels[labelMIGState] == migSuccess:
		// a node of the fleet file whose layout has no name
	case !known:
		m.state(labels, migFailed, "true")
	case fits && h.cutAlike(to):
		m.state(labels, migSuccess, "true")
	default:
		m.phase = migStopping
		m.state(labels, migPending, migPaused)
	}
}

// finish changes the layout. The mode of MIG is set first, so that where the devices cannot be made
// the GPUs are left in MIG mode without any.
func (m *migManager) finish(labels map[string]string) {
	m.phase = migIdle
	if !m.fits {
		m.to = layout{}
	}
	state := migSuccess
	if !m.fits {
		state = migFailed
	}
	m.state(labels, state, "true")
	m.write.annotations = map[string]any{annotationMIG: nilIfEmpty(layoutNote(m.to))}
}

// state plans the label mig.config.state, and the switches of the clients but for those that
// somebody has switched off.
func (m *migManager) state(labels map[string]string, state, clients string) {
	change := map[string]any{}
	if labels[labelMIGState] != state {
		change[labelMIGState] = state
	}
	for _, key := range migClients {
		if have, ok := labels[key]; ok && have != "false" && have != clients {
			change[key] = clients
		}
	}
	m.write = &nodeChange{labels: change, annotations: map[string]any{}} // null would remove all
}

// reconfigure lets mig-manager work on a node; it returns when something is due next.
func (k *nodeAgents) reconfigure(ctx context.Context, node *corev1.Node, st *nodeState, now time.Time) (time.Time, error) {
	m := &st.mig
	if !k.migManaged() || node.Labels[deployMIG] != "true" {
		*m = migManager{}
		return time.Time{}, nil
	}
	if _, cleared := k.migCleared.Load(node.Name); cleared && m.phase == migIdle && node.Labels[labelMIG] != "" {
		k.migCleared.Delete(node.Name)
		m.acted = migRemoved
	}
	if m.write == nil {
		clients, err := k.hasClients(node.Name)
		if err != nil {
			return time.Time{}, err
		}
		m.act(node.Labels, hardwareOf(node), clients, now, k.migApply.take())
	}
	if m.write != nil && len(m.write.labels)+len(m.write.annotations) > 0 {
		metadata := map[string]any{"labels": m.write.labels, "annotations": m.write.annotations}
		if err := k.patch(ctx, st, "mig", node, map[string]any{"metadata": metadata}); err != nil {
			return time.Time{}, err
		}
	}
	m.write = nil
	return m.until, nil
}

// hasClients: a pod of plugin or GFD is on the node, be it on its way out.
func (k *nodeAgents) hasClients(node string) (bool, error) {
	objects, err := k.pods.ByIndex(byNode, node)
	for _, object := range objects {
		if app := object.(*corev1.Pod).Labels["app"]; app == pluginApp || app == gfdApp {
			return true, nil
		}
	}
	return false, err
}
