// SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"fmt"
	"testing"
	"time"
)

func TestSpans(t *testing.T) {
	for text, want := range map[string]span{
		"300ms": exactly(300 * time.Millisecond), "0s": {}, "100ms..2s": {100 * time.Millisecond, 2 * time.Second},
	} {
		var got span
		if err := got.Set(text); err != nil || got != want || got.String() != text {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "3", "2s..1s", "-1s", "1s..", "1s..2s..3s"} {
		if err := new(span).Set(text); err == nil {
			t.Errorf("%q is taken", text)
		}
	}
}

// Every delay of a range is drawn anew, and none is outside.
func TestSpansAreDrawn(t *testing.T) {
	s := span{time.Second, 2 * time.Second}
	early, late := 0, 0
	for range 1000 {
		d := s.take()
		switch {
		case d < s.least || d > s.most:
			t.Fatal(d)
		case d < 1500*time.Millisecond:
			early++
		default:
			late++
		}
	}
	if early < 400 || late < 400 {
		t.Errorf("%d early, %d late", early, late)
	}
}

// A kubelet writes once a period, each at a moment of its own.
func TestStatusIsWrittenOnceAPeriod(t *testing.T) {
	s := settings{publishPeriod: 10 * time.Second}
	start, moments := time.Unix(1000, 0), map[time.Time]bool{}
	for node := range 50 {
		name := fmt.Sprint("node-", node)
		first := s.written(name, start)
		if wait := first.Sub(start); wait < 0 || wait >= 10*time.Second {
			t.Fatalf("%s after %s", name, wait)
		}
		if again := s.written(name, first); !again.Equal(first) {
			t.Errorf("%s: %s is not its own moment", name, again.Sub(first))
		}
		if next := s.written(name, first.Add(time.Nanosecond)); next.Sub(first) != 10*time.Second {
			t.Errorf("%s: next after %s", name, next.Sub(first))
		}
		moments[first] = true
	}
	if len(moments) < 45 {
		t.Errorf("%d moments for 50 nodes", len(moments))
	}
	if at := (settings{}).written("node", start); !at.Equal(start) {
		t.Errorf("no period: %s", at)
	}
}
