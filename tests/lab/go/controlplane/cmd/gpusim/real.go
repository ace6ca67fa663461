// SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"context"
	"path"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// What the operator's DaemonSets share with the host. `gpusim run --operator-only` plays the operator for
// nodes that are real, so its pods must be able to run there; for simulated nodes none of this is needed.
const (
	validations    = "/run/nvidia/validations"
	driverRoot     = "/driver-root" // in the containers
	defaultDriver  = "/run/nvidia/driver"
	defaultToolkit = "/usr/local/nvidia"
	pluginSockets  = "/var/lib/kubelet/device-plugins"
	cdiSpecs       = "/var/run/cdi"
	nodeFeatures   = "/etc/kubernetes/node-feature-discovery/features.d"
	entrypoint     = "nvidia-device-plugin-entrypoint" // ConfigMap, volume and, with .sh, its file
	entrypointFile = "entrypoint.sh"
)

var (
	clusterRoles        = rbacv1.SchemeGroupVersion.WithResource("clusterroles")
	clusterRoleBindings = rbacv1.SchemeGroupVersion.WithResource("clusterrolebindings")
	configMaps          = corev1.SchemeGroupVersion.WithResource("configmaps")
)

// startPlugin waits for the driver and takes its settings over, as the operator's script does.
const startPlugin = `#!/bin/sh
until [ -f ` + validations + `/driver-ready ]; do
  echo "the driver is not ready"
  sleep 1
done
set -o allexport
. ` + validations + `/driver-ready
exec ` + pluginName + `
`

// waitForToolkit is what the init container does until containers can be given GPUs.
const waitForToolkit = `until [ -f ` + validations + `/toolkit-ready ]; do echo "the toolkit is not ready"; sleep 1; done`

// forContainers completes the DaemonSet of an operand: privileges, the host's folders, and what starts in it.
func forContainers(set *appsv1.DaemonSet, o operand, s policySpec) {
	pod := &set.Spec.Template.Spec
	validation, main := &pod.InitContainers[0], &pod.Containers[0]
	validation.Args = []string{waitForToolkit}
	validation.VolumeMounts = []corev1.VolumeMount{mount("run-nvidia", "/run/nvidia", corev1.MountPropagationHostToContainer)}
	pod.Volumes = append(pod.Volumes, hostPath("run-nvidia", "/run/nvidia", corev1.HostPathDirectory),
		hostPath("driver-install-dir", s.driverDir(), corev1.HostPathDirectoryOrCreate))
	main.VolumeMounts = append(main.VolumeMounts,
		mount("driver-install-dir", driverRoot, corev1.MountPropagationHostToContainer))
	switch o.app {
	case pluginApp:
		forPlugin(pod, main, s)
	case gfdApp:
		forGFD(pod, main, s)
	}
	privileged := true
	validation.SecurityContext = &corev1.SecurityContext{Privileged: &privileged}
	for i := range pod.Containers {
		pod.Containers[i].SecurityContext = &corev1.SecurityContext{Privileged: &privileged}
	}
}

func forPlugin(pod *corev1.PodSpec, main *corev1.Container, s policySpec) {
	main.Command, main.Args = []string{"/bin/sh", "-c"}, []string{"/bin/" + entrypointFile}
	if s.CDI.on() {
		setEnv(main, corev1.EnvVar{Name: "CDI_ENABLED", Value: "true"},
			corev1.EnvVar{Name: "DEVICE_LIST_STRATEGY", Value: "cdi-annotations,cdi-cri"},
			corev1.EnvVar{Name: "CDI_ANNOTATION_PREFIX", Value: "cdi.k8s.io/"})
		if s.Toolkit.on() {
			setEnv(main, corev1.EnvVar{Name: "NVIDIA_CDI_HOOK_PATH", Value: path.Join(s.toolkitDir(), "toolkit/nvidia-cdi-hook")})
		}
	}
	setEnv(main, s.DevicePlugin.Env...)
	executable := int32(0o700)
	pod.Volumes = append(pod.Volumes,
		corev1.Volume{Name: entrypoint, VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{
			LocalObjectReference: corev1.LocalObjectReference{Name: entrypoint}, DefaultMode: &executable}}},
		hostPath("device-plugin", pluginSockets, corev1.HostPathUnset),
		hostPath("run-nvidia-validations", validations, corev1.HostPathDirectoryOrCreate),
		hostPath("host-root", "/", corev1.HostPathUnset),
		hostPath("cdi-root", cdiSpecs, corev1.HostPathDirectoryOrCreate),
		hostPath("mps-root", mpsRoot(s), corev1.HostPathDirectoryOrCreate),
		hostPath("mps-shm", path.Join(mpsRoot(s), "shm"), corev1.HostPathUnset))
	host := mount("host-root", "/host", corev1.MountPropagationHostToContainer)
	host.ReadOnly = true
	main.VolumeMounts = append(main.VolumeMounts,
		corev1.VolumeMount{Name: entrypoint, MountPath: "/bin/" + entrypointFile, SubPath: entrypointFile, ReadOnly: true},
		mount("device-plugin", pluginSockets, ""), mount("run-nvidia-validations", validations, ""), host,
		mount("cdi-root", cdiSpecs, ""), mount("mps-root", "/mps", ""), mount("mps-shm", "/dev/shm", ""))
}

// forGFD: on a real fleet the runtime class injects the driver's libraries; here they are found in its root.
func forGFD(pod *corev1.PodSpec, main *corev1.Container, s policySpec) {
	main.Command = []string{gfdApp}
	setEnv(main, corev1.EnvVar{Name: "GFD_FAIL_ON_INIT_ERROR", Value: "true"},
		corev1.EnvVar{Name: "LD_LIBRARY_PATH", Value: driverRoot + "/usr/lib/x86_64-linux-gnu"},
		fieldEnv("NAMESPACE", "metadata.namespace"), fieldEnv("NODE_NAME", "spec.nodeName"), fieldEnv("POD_NAME", "metadata.name"))
	setEnv(main, s.GFD.Env...)
	sys := mount("host-sys", "/sys", "")
	sys.ReadOnly = true
	pod.Volumes = append(pod.Volumes, hostPath("output-dir", nodeFeatures, corev1.HostPathUnset),
		hostPath("host-sys", "/sys", corev1.HostPathUnset))
	main.VolumeMounts = append(main.VolumeMounts, mount("output-dir", nodeFeatures, ""), sys)
}

func hostPath(name, folder string, kind corev1.HostPathType) corev1.Volume {
	return corev1.Volume{Name: name, VolumeSource: corev1.VolumeSource{
		HostPath: &corev1.HostPathVolumeSource{Path: folder, Type: &kind}}}
}

func mount(name, folder string, propagation corev1.MountPropagationMode) corev1.VolumeMount {
	m := corev1.VolumeMount{Name: name, MountPath: folder}
	if propagation != "" {
		m.MountPropagation = &propagation
	}
	return m
}

func fieldEnv(name, field string) corev1.EnvVar {
	return corev1.EnvVar{Name: name, ValueFrom: &corev1.EnvVarSource{
		FieldRef: &corev1.ObjectFieldSelector{APIVersion: "v1", FieldPath: field}}}
}

// setEnv sets variables where they stand, or at the end: a name never comes twice.
func setEnv(c *corev1.Container, variables ...corev1.EnvVar) {
	for _, v := range variables {
		same := func(e corev1.EnvVar) bool { return e.Name == v.Name }
		if i := slices.IndexFunc(c.Env, same); i >= 0 {
			c.Env[i] = v
			rest := slices.DeleteFunc(slices.Clone(c.Env[i+1:]), same)
			c.Env = append(c.Env[:i+1], rest...)
		} else {
			c.Env = append(c.Env, v)
		}
	}
}

func (s policySpec) driverDir() string {
	if s.HostPaths.DriverInstallDir != "" {
		return s.HostPaths.DriverInstallDir
	}
	return defaultDriver
}

func (s policySpec) toolkitDir() string {
	if s.Toolkit.InstallDir != "" {
		return s.Toolkit.InstallDir
	}
	return defaultToolkit
}

// permit lets an operand's pods read nodes, as config-manager does, and keeps the plugin's script.
func (o *operator) permit(ctx context.Context, each operand, namespace string, owner metav1.OwnerReference) error {
	meta := metav1.ObjectMeta{Name: each.account, OwnerReferences: []metav1.OwnerReference{owner}}
	role := &rbacv1.ClusterRole{ObjectMeta: meta, Rules: []rbacv1.PolicyRule{
		{APIGroups: []string{""}, Resources: []string{"nodes"}, Verbs: []string{"get", "list", "watch"}}}}
	_, err := o.client.RbacV1().ClusterRoles().Create(ctx, role, metav1.CreateOptions{})
	if err = o.own(ctx, clusterRoles, role, err); err != nil {
		return err
	}
	binding := &rbacv1.ClusterRoleBinding{ObjectMeta: meta,
		RoleRef:  rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: each.account},
		Subjects: []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Name: each.account, Namespace: namespace}}}
	_, err = o.client.RbacV1().ClusterRoleBindings().Create(ctx, binding, metav1.CreateOptions{})
	if err = o.own(ctx, clusterRoleBindings, binding, err); err != nil {
		return err
	}
	if each.app != pluginApp {
		return nil
	}
	meta.Name, meta.Namespace = entrypoint, namespace
	script := &corev1.ConfigMap{ObjectMeta: meta, Data: map[string]string{entrypointFile: startPlugin}}
	_, err = o.client.CoreV1().ConfigMaps(namespace).Create(ctx, script, metav1.CreateOptions{})
	return o.own(ctx, configMaps, script, err)
}
