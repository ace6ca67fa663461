// SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	spec "github.com/NVIDIA/k8s-device-plugin/api/config/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

const (
	labelAdmission    = "lab.gpufleet.sharing/admission"
	admissionAsked    = "kubelet"  // written by KWOK: a container of the pod wants many slots
	admissionGiven    = "admitted" // KWOK starts it then
	unexpectedFailure = "UnexpectedAdmissionError"
)

// admit plays the kubelet that asks the device plugin for slots, for pods that want many.
func (k *nodeAgents) admit(ctx context.Context, node string, st *nodeState) error {
	pods, err := k.asking.ByIndex(byNode, node)
	if err != nil {
		return err
	}
	for _, object := range pods {
		pod := object.(*corev1.Pod)
		if pod.DeletionTimestamp != nil || pod.Status.Phase != corev1.PodPending {
			continue
		}
		metadata := map[string]any{"labels": map[string]any{labelAdmission: admissionGiven}}
		change, subresources := map[string]any{"metadata": metadata}, []string{}
		if refusal := refuses(st.agents[pluginApp], pod); refusal != "" {
			change = map[string]any{"status": corev1.PodStatus{Phase: corev1.PodFailed, Reason: unexpectedFailure,
				Message: "Pod was rejected: Allocate failed due to " + refusal + ", which is unexpected"}}
			subresources = []string{"status"}
		}
		data, err := json.Marshal(change)
		if err != nil {
			return err
		}
		_, err = k.client.CoreV1().Pods(pod.Namespace).Patch(ctx, pod.Name, types.MergePatchType, data,
			metav1.PatchOptions{}, subresources...)
		if ignoreNotFound(err) != nil {
			return err
		}
	}
	return nil
}

// refuses is why the plugin of a node does not give a pod its slots; "" when it does. MPS before
// v0.20.0 always refuses many slots of a shared resource.
func refuses(plugin *agent, pod *corev1.Pod) string {
	if plugin == nil || plugin.loaded == nil {
		return "no device plugin serving the resource"
	}
	config := plugin.loaded.config
	if !config.FailRequestsGreaterThanOne && config.Strategy != string(spec.SharingStrategyMPS) {
		return ""
	}
	for _, container := range slices.Concat(pod.Spec.InitContainers, pod.Spec.Containers) {
		for name, quantity := range container.Resources.Limits {
			if quantity.Value() > 1 && shared(config, string(name)) {
				return fmt.Sprintf("rpc error: code = Unknown desc = request for '%s: %d' too large: "+
					"maximum request size for shared resources is 1", name, quantity.Value())
			}
		}
	}
	return ""
}

// shared: the name is advertised in more slots than devices.
func shared(config parsed, name string) bool {
	return slices.ContainsFunc(config.Resources, func(r parsedResource) bool {
		return r.Replicas > 1 && strings.TrimSuffix(name, ".shared") == r.Name
	})
}
