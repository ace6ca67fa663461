// SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"maps"
	"strings"

	"sigs.k8s.io/yaml"
)

const (
	configDisabled = "all-disabled"
	configEnabled  = "all-enabled"
	configBalanced = "all-balanced"
)

// layout is how MIG cuts one GPU: profile -> devices. Nil: MIG is off; empty: on, but no devices.
type layout map[string]int

// family is one kind of card that MIG can cut.
type family struct {
	Products []string           `json:"products"`
	Memory   int                `json:"memory"` // GB
	Slices   int                `json:"slices"`
	Profiles map[string]profile `json:"profiles"`
	Balanced layout             `json:"balanced"`
}

// profile is one MIG device as GFD describes it; memory in MiB.
type profile struct {
	Memory          int `json:"memory"`
	Multiprocessors int `json:"multiprocessors"`
	Copy            int `json:"copy"`
	Decoder         int `json:"decoder"`
	JPEG            int `json:"jpeg"`
	OFA             int `json:"ofa"`
}

//go:embed mig.yaml
var familiesFile []byte

var families = mustFamilies()

func mustFamilies() []family {
	var all []family
	if err := yaml.UnmarshalStrict(familiesFile, &all); err != nil {
		panic(err) // a fault of the build, found by every test
	}
	return all
}

// familyOf is the family of a card, nil when MIG cannot cut it; memory is in MiB.
func familyOf(product string, memory int) *family {
	var best *family
	distance := func(f *family) int { return max(f.Memory*1000-memory, memory-f.Memory*1000) }
	for i := range families {
		f := &families[i]
		for _, name := range f.Products {
			if strings.Contains(product, name) && (best == nil || distance(f) < distance(best)) {
				best = f
			}
		}
	}
	return best
}

// sizeOf splits a profile name into its slices and its GB.
func sizeOf(name string) (slices, memory int) {
	_, _ = fmt.Sscanf(name, "%dg.%dgb", &slices, &memory)
	return slices, memory
}

// most is how many devices of one profile fit on a card: it has its slices, and 8 parts of memory.
func (f *family) most(name string) int {
	slices, memory := sizeOf(name)
	return min(f.Slices/slices, 8/((8*memory+f.Memory/2)/f.Memory))
}

// check refuses what the card cannot be cut into.
func (f *family) check(cut layout) error {
	slices, parts := 0, 0
	for name, count := range cut {
		if _, ok := f.Profiles[name]; !ok {
			return fmt.Errorf("no MIG profile %q on this card", name)
		}
		if count < 1 {
			return fmt.Errorf("%d devices of MIG profile %s", count, name)
		}
		s, memory := sizeOf(name)
		slices, parts = slices+count*s, parts+count*((8*memory+f.Memory/2)/f.Memory)
	}
	if slices > f.Slices || parts > 8 {
		return fmt.Errorf("%v does not fit on one card", cut)
	}
	return nil
}

// namedConfig is what a config of mig-manager's default file makes of a card of this family. A name
// that no card has is unknown; known, but impossible here: fits is false.
func (f *family) namedConfig(name string) (cut layout, known, fits bool) {
	switch name {
	case configDisabled:
		return nil, true, true
	case configEnabled:
		return layout{}, true, true
	case configBalanced:
		return f.Balanced, true, true
	}
	wanted, ok := strings.CutPrefix(name, "all-")
	if !ok {
		return nil, false, false
	}
	if _, fits = f.Profiles[wanted]; fits {
		return layout{wanted: f.most(wanted)}, true, true
	}
	for _, other := range families {
		if _, ok := other.Profiles[wanted]; ok {
			known = true
		}
	}
	return nil, known, false
}

// readLayouts reads the annotation: one layout for all GPUs, or a list with one for each (null: MIG
// is off).
func readLayouts(text string, gpus int, f *family) ([]layout, error) {
	if text == "" {
		return nil, nil
	}
	if f == nil {
		return nil, fmt.Errorf("the product has no MIG")
	}
	var cuts []layout
	if err := json.Unmarshal([]byte(text), &cuts); err != nil {
		var cut layout
		if err := json.Unmarshal([]byte(text), &cut); err != nil {
			return nil, fmt.Errorf("must be {PROFILE: COUNT} or a list of those: %w", err)
		}
		for range gpus {
			cuts = append(cuts, cut)
		}
	}
	if len(cuts) > gpus {
		return nil, fmt.Errorf("%d layouts for %d GPUs", len(cuts), gpus)
	}
	for _, cut := range cuts {
		if err := f.check(cut); err != nil {
			return nil, err
		}
	}
	return cuts, nil
}

// layoutNote is the annotation for a node whose GPUs are all cut alike; "" when MIG is off.
func layoutNote(cut layout) string {
	if cut == nil {
		return ""
	}
	data, _ := json.Marshal(cut)
	return string(data)
}

// cut is the layout of one GPU.
func (h hardware) cut(gpu int) layout {
	if gpu < len(h.mig) {
		return h.mig[gpu]
	}
	return nil
}

// cutGPUs is the number of GPUs in MIG mode.
func (h hardware) cutGPUs() int {
	n := 0
	for _, cut := range h.mig {
		if cut != nil {
			n++
		}
	}
	return n
}

// cutAlike: every GPU has this layout.
func (h hardware) cutAlike(want layout) bool {
	for gpu := range h.gpus {
		if have := h.cut(gpu); (have == nil) != (want == nil) || !maps.Equal(have, want) {
			return false
		}
	}
	return true
}

// migDevices counts the MIG devices of the node by profile.
func (h hardware) migDevices() map[string]int {
	all := map[string]int{}
	for _, cut := range h.mig {
		for name, count := range cut {
			all[name] += count
		}
	}
	return all
}

// emptyGPU is a GPU in MIG mode without devices, -1 when there is none.
func (h hardware) emptyGPU() int {
	for gpu, cut := range h.mig {
		if cut != nil && len(cut) == 0 {
			return gpu
		}
	}
	return -1
}
