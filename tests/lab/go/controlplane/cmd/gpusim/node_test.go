// SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
)

// statusWrites is a server that takes everything, and what it is told of the status of nodes.
func statusWrites(t *testing.T) (kubernetes.Interface, *[]string) {
	t.Helper()
	var told []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if strings.HasPrefix(r.URL.Path, "/api/v1/nodes/") && strings.HasSuffix(r.URL.Path, "/status") {
			told = append(told, string(body))
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{}`))
	}))
	t.Cleanup(server.Close)
	client, err := kubernetes.NewForConfig(&rest.Config{Host: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	return client, &told
}

// A simulator that is woken too late writes first what was due before the new pod's file was read.
func TestLateStatusIsWrittenAllTheSame(t *testing.T) {
	client, told := statusWrites(t)
	has := corev1.ResourceList{gpuResource: *resource.NewQuantity(4, resource.DecimalSI)}
	node := &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: "n", Annotations: map[string]string{annotationGPUs: "1"}},
		Status:     corev1.NodeStatus{Allocatable: has, Capacity: has},
	}
	nodes := cache.NewIndexer(cache.MetaNamespaceKeyFunc, cache.Indexers{})
	pods := cache.NewIndexer(cache.MetaNamespaceKeyFunc, cache.Indexers{byNode: nodeOf})
	_ = nodes.Add(node)
	set := daemonSet(operands()[0], policySpec{}, "gpu-operator", metav1.OwnerReference{})
	pod := &corev1.Pod{ObjectMeta: set.Spec.Template.ObjectMeta, Spec: set.Spec.Template.Spec}
	pod.Name, pod.Namespace, pod.Spec.NodeName = "plugin", "gpu-operator", node.Name
	_ = pods.Add(pod)
	k := &nodeAgents{
		client: client, nodes: corelisters.NewNodeLister(nodes), pods: pods,
		asking:  cache.NewIndexer(cache.MetaNamespaceKeyFunc, cache.Indexers{byNode: nodeOf}),
		history: newHistory(0), parser: newParser(), settings: settings{publish: exactly(time.Hour)},
		wake: func(string, time.Duration) {}, migManaged: func() bool { return false },
		gfdInstalled: func() bool { return true }, state: map[string]*nodeState{},
	}
	if err := k.sync(t.Context(), node.Name); err != nil || len(*told) != 0 {
		t.Fatalf("%v, written: %v", err, *told) // what a new simulator finds stays until it knows better
	}
	st := k.stateOf(node.Name)
	delete(st.agents, pluginApp)
	st.offered.set(nil, time.Now())
	if err := k.sync(t.Context(), node.Name); err != nil {
		t.Fatal(err)
	}
	if want := []string{`{"status":{"allocatable":{"nvidia.com/gpu":"0"},"capacity":{}}}`}; !slices.Equal(*told, want) {
		t.Errorf("written: %v, want %v", *told, want)
	}
	if st.offered.value[gpuResource].total != 1 {
		t.Errorf("the new pod has not been started: %v", st.offered)
	}
}
