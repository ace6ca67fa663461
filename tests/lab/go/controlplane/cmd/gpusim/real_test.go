// SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func realSet(t *testing.T, app string, s policySpec) corev1.PodSpec {
	t.Helper()
	for _, each := range operands() {
		if each.app == app {
			set := daemonSet(each, s, "gpu-operator", metav1.OwnerReference{})
			forContainers(set, each, s)
			return set.Spec.Template.Spec
		}
	}
	t.Fatalf("no operand %s", app)
	return corev1.PodSpec{}
}

func value(c corev1.Container, name string) (string, int) {
	found, count := "", 0
	for _, e := range c.Env {
		if e.Name == name {
			found, count = e.Value, count+1
		}
	}
	return found, count
}

func TestPluginForContainers(t *testing.T) {
	s := policySpec{}
	s.DevicePlugin.Env = []corev1.EnvVar{{Name: "DEVICE_LIST_STRATEGY", Value: "cdi-cri"}}
	s.Toolkit.InstallDir = "/opt/toolkit"
	pod := realSet(t, pluginApp, s)
	main := pod.Containers[0]
	for name, want := range map[string]string{
		"DEVICE_LIST_STRATEGY": "cdi-cri", // what the ClusterPolicy says beats what CDI needs
		"NVIDIA_CDI_HOOK_PATH": "/opt/toolkit/toolkit/nvidia-cdi-hook",
		"MPS_ROOT":             "/run/nvidia/mps",
	} {
		if found, count := value(main, name); found != want || count != 1 {
			t.Errorf("%s is %q, %d times; expected %q once", name, found, count, want)
		}
	}
	names := map[string]bool{}
	for _, v := range pod.Volumes {
		names[v.Name] = true
	}
	for _, m := range append(main.VolumeMounts, pod.InitContainers[0].VolumeMounts...) {
		if !names[m.Name] {
			t.Errorf("mount %s has no volume", m.Name)
		}
	}
	for _, c := range append(pod.Containers, pod.InitContainers[0]) {
		if c.SecurityContext == nil || !*c.SecurityContext.Privileged {
			t.Errorf("%s is not privileged", c.Name)
		}
	}
}

func TestWithoutCDITheOperatorsStrategyStays(t *testing.T) {
	s := policySpec{}
	off := false
	s.CDI.Enabled = &off
	main := realSet(t, pluginApp, s).Containers[0]
	if found, _ := value(main, "DEVICE_LIST_STRATEGY"); found != "envvar" {
		t.Errorf("strategy is %q", found)
	}
	if _, count := value(main, "NVIDIA_CDI_HOOK_PATH"); count != 0 {
		t.Error("a hook without CDI")
	}
}

func TestGFDForContainers(t *testing.T) {
	pod := realSet(t, gfdApp, policySpec{})
	main := pod.Containers[0]
	if len(main.Command) != 1 || main.Command[0] != "gpu-feature-discovery" {
		t.Errorf("command is %v", main.Command)
	}
	if found, _ := value(main, "LD_LIBRARY_PATH"); found != "/driver-root/usr/lib/x86_64-linux-gnu" {
		t.Errorf("libraries are looked for in %q", found)
	}
}
