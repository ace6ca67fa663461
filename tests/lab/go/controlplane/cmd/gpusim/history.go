// SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"maps"
	"sync"
	"time"
)

// history remembers recent contents of ConfigMaps, so that every pod can see the one that its
// kubelet would have mounted.
type history struct {
	mu       sync.Mutex
	longest  time.Duration        // no pod is further behind
	versions map[string][]version // by namespace/name, oldest first
}

// version is the content from a moment on; nil files mean that the ConfigMap does not exist.
type version struct {
	since time.Time
	files map[string]string
}

func newHistory(longest time.Duration) *history {
	return &history{longest: longest, versions: map[string][]version{}}
}

// record notes the content of a ConfigMap; it says whether that is news.
func (h *history) record(name string, files map[string]string, now time.Time) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	known := h.versions[name]
	if n := len(known); n > 0 && (known[n-1].files == nil) == (files == nil) && maps.Equal(known[n-1].files, files) {
		return false
	}
	known = append(known, version{now, files})
	for len(known) > 1 && known[1].since.Before(now.Add(-2*h.longest)) {
		known = known[1:]
	}
	h.versions[name] = known
	return true
}

// current is the content right now, for a pod that is being started; nil when there is none.
func (h *history) current(name string) map[string]string {
	h.mu.Lock()
	defer h.mu.Unlock()
	if known := h.versions[name]; len(known) > 0 {
		return known[len(known)-1].files
	}
	return nil
}

// mounted is the content that a running pod sees: that of a moment in the past (bound), or of the
// last one when the kubelet looked (refreshed); a deletion never arrives.
func (h *history) mounted(name string, refreshed, bound time.Time) map[string]string {
	h.mu.Lock()
	defer h.mu.Unlock()
	if refreshed.After(bound) {
		bound = refreshed
	}
	var seen map[string]string
	for _, v := range h.versions[name] {
		if v.files != nil && (seen == nil || !v.since.After(bound)) {
			seen = v.files
		}
	}
	return seen
}
