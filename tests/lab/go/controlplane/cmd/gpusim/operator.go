// SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"sort"
	"sync"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	appslisters "k8s.io/client-go/listers/apps/v1"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"
)

const operatorName = "gpu-operator"

var (
	policies        = schema.GroupVersionResource{Group: "nvidia.com", Version: "v1", Resource: "clusterpolicies"}
	serviceAccounts = corev1.SchemeGroupVersion.WithResource("serviceaccounts")
)

// operator is the GPU Operator as far as sharing is concerned: labels on nodes, DaemonSets from
// the ClusterPolicy, and its status.
type operator struct {
	client      kubernetes.Interface
	dynamic     dynamic.Interface
	nodes       corelisters.NodeLister
	deployments appslisters.DeploymentLister
	daemonSets  appslisters.DaemonSetLister
	policies    func() cache.Store // nil while the CRD does not exist
	statusLag   span
	real        bool // the pods of its DaemonSets are started
	wake        func(after time.Duration)
	wakeNode    func(name string)

	known bool // the kind ClusterPolicy has been there

	mu         sync.Mutex
	active     *policySpec // what the operator acts on; nil while it does not run
	labelled   string      // policy and generation for which all nodes have been looked at
	changed    string      // policy and generation seen last
	staleUntil time.Time
}

// sync brings the DaemonSets and the status of the ClusterPolicy up to date.
func (o *operator) sync(ctx context.Context) error {
	if err := o.collect(ctx); err != nil {
		return err
	}
	namespace := o.namespace()
	policy := o.singleton()
	if namespace == "" || policy == nil {
		o.mu.Lock()
		o.active, o.labelled = nil, ""
		o.mu.Unlock()
		return nil
	}
	spec, err := specOf(policy)
	if err != nil {
		return err
	}
	lagEnds := o.activate(policy, spec)
	if !o.hasGPUs() { // then it neither makes nor changes DaemonSets
		return o.writeState(ctx, policy, "ready", "NoGPUNodes", namespace)
	}
	ready := true
	for _, each := range operands() {
		done, err := o.apply(ctx, each, *spec, namespace, policy)
		if err != nil {
			return err
		}
		ready = ready && done
	}
	state, reason := "notReady", "OperandNotReady"
	if ready {
		state, reason = "ready", "Reconciled"
	}
	if current, _, _ := unstructured.NestedString(policy.Object, "status", "state"); current == "ready" && !ready {
		if left := time.Until(lagEnds); left > 0 {
			o.wake(left)
			return nil
		}
	}
	return o.writeState(ctx, policy, state, reason, namespace)
}

// hasGPUs: a node has been labelled as one with GPUs.
func (o *operator) hasGPUs() bool {
	found, _ := o.nodes.List(labels.SelectorFromSet(labels.Set{labelPresent: "true"}))
	return len(found) > 0
}

// collect removes DaemonSets whose ClusterPolicy has gone. The garbage collector does so too, but
// not before it has noticed the kind, up to half a minute after its definition was made.
func (o *operator) collect(ctx context.Context) error {
	living := map[types.UID]bool{}
	if store := o.policies(); store != nil {
		o.known = true
		for _, object := range store.List() {
			living[object.(*unstructured.Unstructured).GetUID()] = true
		}
	}
	if !o.known {
		return nil
	}
	sets, _ := o.daemonSets.List(labels.Everything())
	for _, set := range sets {
		owner := metav1.GetControllerOf(set)
		if owner == nil || owner.Kind != "ClusterPolicy" || living[owner.UID] || set.DeletionTimestamp != nil {
			continue
		}
		if err := ignoreNotFound(o.client.AppsV1().DaemonSets(set.Namespace).Delete(ctx, set.Name, metav1.DeleteOptions{})); err != nil {
			return err
		}
	}
	return nil
}

// namespace is where the operator runs; "" while it does not.
func (o *operator) namespace() string {
	deployments, _ := o.deployments.List(labels.Everything())
	for _, d := range deployments {
		if d.Name == operatorName && d.Status.AvailableReplicas > 0 {
			return d.Namespace
		}
	}
	return ""
}

// singleton is the oldest ClusterPolicy; the operator ignores all others, and writes no status into them
// (v26.7.0 sets "ignored" on its own copy alone).
func (o *operator) singleton() *unstructured.Unstructured {
	store := o.policies()
	if store == nil {
		return nil
	}
	var all []*unstructured.Unstructured
	for _, object := range store.List() {
		if policy := object.(*unstructured.Unstructured); policy.GetDeletionTimestamp() == nil {
			all = append(all, policy)
		}
	}
	sort.Slice(all, func(i, j int) bool {
		a, b := all[i].GetCreationTimestamp(), all[j].GetCreationTimestamp()
		return a.Before(&b) || (a.Equal(&b) && all[i].GetName() < all[j].GetName())
	})
	if len(all) == 0 {
		return nil
	}
	return all[0]
}

func specOf(policy *unstructured.Unstructured) (*policySpec, error) {
	raw, _, err := unstructured.NestedMap(policy.Object, "spec")
	if err != nil {
		return nil, err
	}
	spec := &policySpec{}
	return spec, runtime.DefaultUnstructuredConverter.FromUnstructured(raw, spec)
}

// activate notes what the operator acts on, looks at every node when that is new, and says until
// when the status stays as it was.
func (o *operator) activate(policy *unstructured.Unstructured, spec *policySpec) time.Time {
	generation := fmt.Sprint(policy.GetUID(), policy.GetGeneration())
	o.mu.Lock()
	o.active = spec
	news := o.labelled != generation
	o.labelled = generation
	if o.changed != generation {
		o.changed, o.staleUntil = generation, time.Now().Add(o.statusLag.take())
	}
	ends := o.staleUntil
	o.mu.Unlock()
	if news {
		nodes, _ := o.nodes.List(labels.Everything())
		for _, node := range nodes {
			o.wakeNode(node.Name)
		}
	}
	return ends
}

// apply creates, updates or removes the DaemonSet of one operand; true when it is rolled out.
func (o *operator) apply(ctx context.Context, each operand, s policySpec, namespace string, policy *unstructured.Unstructured) (bool, error) {
	sets := o.client.AppsV1().DaemonSets(namespace)
	have, err := o.daemonSets.DaemonSets(namespace).Get(each.app)
	if err != nil && !apierrors.IsNotFound(err) {
		return false, err
	}
	missing := err != nil
	if !each.enabled(s) {
		if missing {
			return true, nil
		}
		return true, ignoreNotFound(sets.Delete(ctx, each.app, metav1.DeleteOptions{}))
	}
	owner := *metav1.NewControllerRef(policy, policies.GroupVersion().WithKind("ClusterPolicy"))
	want := daemonSet(each, s, namespace, owner)
	if o.real {
		forContainers(want, each, s)
	}
	hash := hashOf(want)
	want.Annotations = map[string]string{hashKey: hash}
	if missing || have.Annotations[hashKey] != hash { // that of a deleted ClusterPolicy goes with it
		if err := o.account(ctx, each.account, namespace, owner); err != nil {
			return false, err
		}
		if o.real {
			if err := o.permit(ctx, each, namespace, owner); err != nil {
				return false, err
			}
		}
	}
	switch {
	case missing:
		_, err := sets.Create(ctx, want, metav1.CreateOptions{})
		return false, ignoreExists(err)
	case have.Annotations[hashKey] != hash:
		next := have.DeepCopy()
		next.Spec.Template, next.Spec.UpdateStrategy = want.Spec.Template, want.Spec.UpdateStrategy
		next.OwnerReferences = want.OwnerReferences
		metav1.SetMetaDataAnnotation(&next.ObjectMeta, hashKey, hash)
		_, err := sets.Update(ctx, next, metav1.UpdateOptions{})
		return false, err
	}
	return rolledOut(have), nil
}

// account creates the service account without which no pod of the DaemonSet is admitted.
func (o *operator) account(ctx context.Context, name, namespace string, owner metav1.OwnerReference) error {
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: namespace,
		OwnerReferences: []metav1.OwnerReference{owner}}}
	_, err := o.client.CoreV1().ServiceAccounts(namespace).Create(ctx, account, metav1.CreateOptions{})
	return o.own(ctx, serviceAccounts, account, err)
}

// own takes an object over that could not be created because it is there: where it is of a
// ClusterPolicy that was deleted, the garbage collector would take it away later.
func (o *operator) own(ctx context.Context, kind schema.GroupVersionResource, object metav1.Object, created error) error {
	if !apierrors.IsAlreadyExists(created) {
		return created
	}
	owners := map[string]any{"ownerReferences": object.GetOwnerReferences()}
	patch, _ := json.Marshal(map[string]any{"metadata": owners})
	_, err := o.dynamic.Resource(kind).Namespace(object.GetNamespace()).Patch(ctx, object.GetName(),
		types.MergePatchType, patch, metav1.PatchOptions{})
	return err
}

func rolledOut(d *appsv1.DaemonSet) bool {
	s := d.Status
	return s.ObservedGeneration == d.Generation && s.NumberUnavailable == 0 &&
		s.UpdatedNumberScheduled == s.DesiredNumberScheduled
}

func hashOf(d *appsv1.DaemonSet) string {
	data, _ := json.Marshal(d)
	return fmt.Sprintf("%x", sha256.Sum256(data))[:16]
}

// writeState writes the status; a condition tells the reason, and what is not right.
func (o *operator) writeState(ctx context.Context, policy *unstructured.Unstructured, state, reason, namespace string) error {
	status, message := "False", ""
	if state == "ready" {
		status = "True"
	}
	if reason == "NoGPUNodes" {
		message = "No GPU node found, watching for new nodes to join the cluster."
	}
	current, _, _ := unstructured.NestedString(policy.Object, "status", "state")
	if known, _, _ := unstructured.NestedSlice(policy.Object, "status", "conditions"); current == state && len(known) > 0 {
		if condition, ok := known[0].(map[string]any); ok && condition["reason"] == reason {
			return nil
		}
	}
	patch, _ := json.Marshal(map[string]any{"status": map[string]any{
		"state": state, "namespace": namespace,
		"conditions": []any{map[string]any{"type": "Ready", "status": status, "reason": reason, "message": message,
			"lastTransitionTime": time.Now().UTC().Format(time.RFC3339)}},
	}})
	_, err := o.dynamic.Resource(policies).Patch(ctx, policy.GetName(), types.MergePatchType, patch,
		metav1.PatchOptions{}, "status")
	return ignoreNotFound(err)
}

// syncNode writes the operator's labels of one node.
func (o *operator) syncNode(ctx context.Context, name string) error {
	o.mu.Lock()
	active := o.active
	o.mu.Unlock()
	node, err := o.nodes.Get(name)
	if active == nil || err != nil {
		return ignoreNotFound(err)
	}
	change := operatorLabels(node.Labels, active.migDefault())
	if len(change) == 0 {
		return nil
	}
	patch, _ := json.Marshal(map[string]any{"metadata": map[string]any{"labels": change}})
	_, err = o.client.CoreV1().Nodes().Patch(ctx, name, types.MergePatchType, patch, metav1.PatchOptions{})
	return ignoreNotFound(err)
}

// migManaged: mig-manager runs where its switch is on.
func (o *operator) migManaged() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.active != nil && o.active.MIGManager.on()
}

func ignoreNotFound(err error) error {
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

func ignoreExists(err error) error {
	if apierrors.IsAlreadyExists(err) {
		return nil
	}
	return err
}
