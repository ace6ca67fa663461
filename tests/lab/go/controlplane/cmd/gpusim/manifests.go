// SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"strconv"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

const (
	pluginApp     = "nvidia-device-plugin-daemonset"
	gfdApp        = "gpu-feature-discovery"
	mpsApp        = "nvidia-device-plugin-mps-control-daemon"
	migManagerApp = "nvidia-mig-manager"
	pluginName    = "nvidia-device-plugin"   // container
	mpsName       = "mps-control-daemon-ctr" // container
	sidecarName   = "config-manager"
	initName      = "config-manager-init"
	hashKey       = "nvidia.com/last-applied-hash"
)

// policySpec is the part of ClusterPolicy that the simulation acts on.
type policySpec struct {
	DevicePlugin component `json:"devicePlugin"`
	GFD          component `json:"gfd"`
	Validator    component `json:"validator"`
	MIG          struct {
		Strategy string `json:"strategy"`
	} `json:"mig"`
	MIGManager component `json:"migManager"`
	Toolkit    component `json:"toolkit"`
	CDI        component `json:"cdi"`
	HostPaths  struct {
		DriverInstallDir string `json:"driverInstallDir"`
	} `json:"hostPaths"`
	Daemonsets struct {
		Labels            map[string]string   `json:"labels"`
		Annotations       map[string]string   `json:"annotations"`
		Tolerations       []corev1.Toleration `json:"tolerations"`
		PriorityClassName string              `json:"priorityClassName"`
		UpdateStrategy    string              `json:"updateStrategy"`
		RollingUpdate     *struct {
			MaxUnavailable string `json:"maxUnavailable"`
		} `json:"rollingUpdate"`
	} `json:"daemonsets"`
}

type component struct {
	Enabled    *bool           `json:"enabled"`
	Repository string          `json:"repository"`
	Image      string          `json:"image"`
	Version    string          `json:"version"`
	Env        []corev1.EnvVar `json:"env"`
	Config     *struct {
		Name    string `json:"name"`
		Default string `json:"default"`
	} `json:"config"`
	MPS *struct {
		Root string `json:"root"`
	} `json:"mps"`
	InstallDir string `json:"installDir"`
}

// migDefault is the MIG config that nodes without one get; "" for none.
func (s policySpec) migDefault() string {
	if c := s.MIGManager.Config; s.MIGManager.on() && c != nil && c.Default == configDisabled {
		return c.Default
	}
	return ""
}

func (c component) on() bool { return c.Enabled == nil || *c.Enabled }

func (c component) reference() string {
	separator := ":"
	if strings.HasPrefix(c.Version, "sha256:") {
		separator = "@"
	}
	return c.Repository + "/" + c.Image + separator + c.Version
}

// operand is one of the DaemonSets that carry config-manager.
type operand struct {
	app, container, account string
	selector                map[string]string
	enabled                 func(policySpec) bool
	image                   func(policySpec) string
}

func operands() []operand {
	plugin := func(s policySpec) bool { return s.DevicePlugin.on() }
	image := func(s policySpec) string { return s.DevicePlugin.reference() }
	return []operand{
		{pluginApp, pluginName, "nvidia-device-plugin",
			map[string]string{deployPlugin: "true"}, plugin, image},
		{gfdApp, gfdApp, "nvidia-gpu-feature-discovery", map[string]string{deployGFD: "true"},
			func(s policySpec) bool { return s.GFD.on() }, func(s policySpec) string { return s.GFD.reference() }},
		{mpsApp, mpsName, "nvidia-device-plugin",
			map[string]string{deployPlugin: "true", "nvidia.com/mps.capable": "true"}, plugin, image},
	}
}

// daemonSet renders one operand as the operator would.
func daemonSet(o operand, s policySpec, namespace string, owner metav1.OwnerReference) *appsv1.DaemonSet {
	labels := map[string]string{"app": o.app}
	pod := corev1.PodSpec{
		NodeSelector:       o.selector,
		ServiceAccountName: o.account,
		PriorityClassName:  s.Daemonsets.PriorityClassName,
		Tolerations:        s.Daemonsets.Tolerations,
		InitContainers: []corev1.Container{{Name: "toolkit-validation", Image: s.Validator.reference(),
			Command: []string{"sh", "-c"}, Args: []string{"wait for the container toolkit"}}},
		Containers: []corev1.Container{{Name: o.container, Image: o.image(s), Env: mainEnv(o, s)}},
	}
	if len(pod.Tolerations) == 0 {
		pod.Tolerations = []corev1.Toleration{{Key: gpuResource, Operator: corev1.TolerationOpExists,
			Effect: corev1.TaintEffectNoSchedule}}
	}
	if c := s.DevicePlugin.Config; c != nil && c.Name != "" {
		addConfigManager(&pod, o, s.DevicePlugin.reference(), c.Name, c.Default)
	}
	template := map[string]string{}
	for key, value := range s.Daemonsets.Labels {
		template[key] = value
	}
	template["app"] = o.app
	return &appsv1.DaemonSet{
		ObjectMeta: metav1.ObjectMeta{Name: o.app, Namespace: namespace, Labels: labels,
			OwnerReferences: []metav1.OwnerReference{owner}},
		Spec: appsv1.DaemonSetSpec{
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: template, Annotations: s.Daemonsets.Annotations},
				Spec:       pod,
			},
			UpdateStrategy: updateStrategy(s),
		},
	}
}

func mainEnv(o operand, s policySpec) []corev1.EnvVar {
	var env []corev1.EnvVar
	if o.app == pluginApp {
		env = append(env,
			corev1.EnvVar{Name: "PASS_DEVICE_SPECS", Value: "true"},
			corev1.EnvVar{Name: "FAIL_ON_INIT_ERROR", Value: "true"},
			corev1.EnvVar{Name: "DEVICE_LIST_STRATEGY", Value: "envvar"},
			corev1.EnvVar{Name: "DEVICE_ID_STRATEGY", Value: "uuid"},
			corev1.EnvVar{Name: "NVIDIA_VISIBLE_DEVICES", Value: "all"},
			corev1.EnvVar{Name: "MPS_ROOT", Value: mpsRoot(s)})
	}
	if o.app == gfdApp {
		env = append(env, corev1.EnvVar{Name: "GFD_SLEEP_INTERVAL", Value: "60s"})
	}
	if s.MIG.Strategy != "" {
		env = append(env, corev1.EnvVar{Name: "MIG_STRATEGY", Value: s.MIG.Strategy})
	}
	if o.app == gfdApp {
		return append(env, s.GFD.Env...)
	}
	return append(env, s.DevicePlugin.Env...)
}

func mpsRoot(s policySpec) string {
	if s.DevicePlugin.MPS != nil && s.DevicePlugin.MPS.Root != "" {
		return s.DevicePlugin.MPS.Root
	}
	return "/run/nvidia/mps"
}

// addConfigManager adds the init container, the side-car and their volumes.
func addConfigManager(pod *corev1.PodSpec, o operand, image, configMap, defaultKey string) {
	mounts := []corev1.VolumeMount{
		{Name: configMap, MountPath: "/available-configs"},
		{Name: "config", MountPath: "/config"},
	}
	manager := func(name string, oneshot bool, signal, process string) corev1.Container {
		return corev1.Container{
			Name: name, Image: image, Command: []string{"config-manager"}, VolumeMounts: mounts,
			Env: []corev1.EnvVar{
				{Name: "ONESHOT", Value: strconv.FormatBool(oneshot)},
				{Name: "NODE_NAME", ValueFrom: &corev1.EnvVarSource{
					FieldRef: &corev1.ObjectFieldSelector{APIVersion: "v1", FieldPath: "spec.nodeName"}}},
				{Name: "NODE_LABEL", Value: labelConfig},
				{Name: "CONFIG_FILE_SRCDIR", Value: "/available-configs"},
				{Name: "CONFIG_FILE_DST", Value: "/config/config.yaml"},
				{Name: "DEFAULT_CONFIG", Value: defaultKey},
				{Name: "FALLBACK_STRATEGIES", Value: "empty"},
				{Name: "SEND_SIGNAL", Value: strconv.FormatBool(!oneshot)},
				{Name: "SIGNAL", Value: signal},
				{Name: "PROCESS_TO_SIGNAL", Value: process},
			},
		}
	}
	pod.InitContainers = append(pod.InitContainers, manager(initName, true, "", ""))
	main := &pod.Containers[0]
	main.Env = append(main.Env, corev1.EnvVar{Name: "CONFIG_FILE", Value: "/config/config.yaml"})
	main.VolumeMounts = append(main.VolumeMounts, mounts...)
	pod.Containers = append(pod.Containers, manager(sidecarName, false, "1", o.container))
	share := true
	pod.ShareProcessNamespace = &share
	pod.Volumes = append(pod.Volumes,
		corev1.Volume{Name: configMap, VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{
			LocalObjectReference: corev1.LocalObjectReference{Name: configMap}}}},
		corev1.Volume{Name: "config", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}})
}

func updateStrategy(s policySpec) appsv1.DaemonSetUpdateStrategy {
	if s.Daemonsets.UpdateStrategy == string(appsv1.OnDeleteDaemonSetStrategyType) {
		return appsv1.DaemonSetUpdateStrategy{Type: appsv1.OnDeleteDaemonSetStrategyType}
	}
	limit := "1"
	if s.Daemonsets.RollingUpdate != nil && s.Daemonsets.RollingUpdate.MaxUnavailable != "" {
		limit = s.Daemonsets.RollingUpdate.MaxUnavailable
	}
	unavailable := intstr.Parse(limit)
	return appsv1.DaemonSetUpdateStrategy{Type: appsv1.RollingUpdateDaemonSetStrategyType,
		RollingUpdate: &appsv1.RollingUpdateDaemonSet{MaxUnavailable: &unavailable}}
}
