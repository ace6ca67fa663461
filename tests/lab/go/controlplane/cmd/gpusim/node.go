// SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"
)

const byNode = "node"

// nodeAgents is the kubelet, the plugin and GFD of every node: it plays the operand pods and
// publishes what the plugin serves.
type nodeAgents struct {
	client  kubernetes.Interface
	nodes   corelisters.NodeLister
	pods    cache.Indexer // operand pods, indexed by node
	asking  cache.Indexer // pods that wait to be admitted, indexed by node
	history *history
	parser  *parser
	settings
	wake         func(node string, after time.Duration)
	migManaged   func() bool // mig-manager is there
	gfdInstalled func() bool // so is the DaemonSet of GFD, which owns its labels
	migCleared   sync.Map    // nodes whose label mig.config went, however shortly

	mu    sync.Mutex
	state map[string]*nodeState
}

// nodeState is the memory of one node; one worker at a time holds it.
type nodeState struct {
	agents   map[string]*agent // by the app label of their pods
	offered  delayed[map[string]slots]
	gone     map[string]time.Time // resources that are no longer served: since when
	labelled delayed[map[string]string]
	mig      migManager
	sent     map[string]string // kind of patch -> version of the node and the last patch for it
}

// delayed is a value that becomes visible some time after it has changed.
type delayed[T any] struct {
	value T
	key   string
	at    time.Time
}

func (d *delayed[T]) set(value T, at time.Time) {
	if key := fmt.Sprint(value); key != d.key {
		d.value, d.key, d.at = value, key, at
	}
}

// sync brings one node up to now and plans the next moment at which something is due.
func (k *nodeAgents) sync(ctx context.Context, name string) error {
	node, err := k.nodes.Get(name)
	if apierrors.IsNotFound(err) {
		k.mu.Lock()
		delete(k.state, name)
		k.mu.Unlock()
		return nil
	}
	if err != nil {
		return err
	}
	st, now := k.stateOf(name), time.Now()
	if err := k.writeOverdue(ctx, node, st, now); err != nil {
		return err
	}
	soonest, err := k.play(ctx, node, st, now)
	if err != nil {
		return err
	}
	migDue, err := k.reconfigure(ctx, node, st, now)
	if err != nil {
		return err
	}
	if err := k.admit(ctx, node.Name, st); err != nil {
		return err
	}
	h := hardwareOf(node)
	st.plan(node.Name, h, now, k.settings, k.gfdInstalled())
	for _, at := range append(st.forgetting(node.Name, k.settings), st.offered.at, st.labelled.at, migDue) {
		if at.After(now) {
			soonest = earliest(soonest, at)
		}
	}
	if !soonest.IsZero() {
		k.wake(name, max(soonest.Sub(now), time.Millisecond))
	}
	if err := k.writeStatus(ctx, node, st, now); err != nil {
		return err
	}
	return k.writeMetadata(ctx, node, st, h.problem, now)
}

// play lets the operand pods of a node do what is due; it returns when something is due next. The MPS
// daemon is first, since the plugin asks it: for real both hear of a label at the same time.
func (k *nodeAgents) play(ctx context.Context, node *corev1.Node, st *nodeState, now time.Time) (time.Time, error) {
	soonest := time.Time{}
	pods, err := k.operands(node.Name)
	if err != nil {
		return soonest, err
	}
	st.refresh(pods, now, k.settings)
	h := hardwareOf(node)
	w := world{k.settings, node.Labels[labelConfig], h, nil, k.history, k.parser}
	for _, app := range []string{mpsApp, pluginApp, gfdApp} {
		a, ok := st.agents[app]
		if app == pluginApp {
			w.mps = mpsServed(st.agents[mpsApp], h)
		}
		if !ok {
			continue
		}
		a.step(now, w)
		if err := k.writePod(ctx, pods[app], a); err != nil {
			return soonest, err
		}
		soonest = earliest(soonest, a.next(w))
	}
	return soonest, nil
}

func (k *nodeAgents) stateOf(name string) *nodeState {
	k.mu.Lock()
	defer k.mu.Unlock()
	st, ok := k.state[name]
	if !ok {
		st = &nodeState{agents: map[string]*agent{}, sent: map[string]string{}, gone: map[string]time.Time{}}
		k.state[name] = st
	}
	return st
}

// operands are the living operand pods of a node by their app label, the newest of each.
func (k *nodeAgents) operands(node string) (map[string]*corev1.Pod, error) {
	objects, err := k.pods.ByIndex(byNode, node)
	if err != nil {
		return nil, err
	}
	pods := map[string]*corev1.Pod{}
	for _, object := range objects {
		pod := object.(*corev1.Pod)
		app := pod.Labels["app"]
		if pod.DeletionTimestamp != nil || pod.Status.Phase == corev1.PodFailed {
			continue
		}
		if other, ok := pods[app]; !ok || other.CreationTimestamp.Before(&pod.CreationTimestamp) {
			pods[app] = pod
		}
	}
	return pods, nil
}

// refresh makes an agent for every new pod and drops those whose pod has gone.
func (st *nodeState) refresh(pods map[string]*corev1.Pod, now time.Time, s settings) {
	for app, a := range st.agents {
		if pod, ok := pods[app]; !ok || pod.UID != a.uid {
			delete(st.agents, app)
		}
	}
	for app, pod := range pods {
		if a, ok := st.agents[app]; ok {
			a.annotate(pod.Annotations, now, s)
		} else {
			st.agents[app] = newAgent(pod, now, s)
		}
	}
}

// plan works out what is to be published, and when. Labels of GFD stay as they are while it is not
// there, until its DaemonSet goes.
func (st *nodeState) plan(name string, h hardware, now time.Time, s settings, gfdInstalled bool) {
	offered := st.agents[pluginApp].serves(h)
	for resource := range st.offered.value {
		if _, still := offered[resource]; !still && st.gone[resource].IsZero() {
			st.gone[resource] = now
		}
	}
	for resource := range offered {
		delete(st.gone, resource)
	}
	st.offered.set(offered, s.written(name, now.Add(s.publish.take())))
	a := st.agents[gfdApp]
	switch {
	case a == nil && !gfdInstalled:
		st.labelled.set(nil, now.Add(s.expiry.take()))
	case a != nil && a.loaded != nil:
		labels := gfdLabels(a.loaded.config, h, a.loaded.since.Unix())
		st.labelled.set(labels, now.Add(s.publish.take()+s.labelLag.take()))
	}
}

// forgetting are the moments at which the kubelet gives up resources that nobody serves any more.
func (st *nodeState) forgetting(name string, s settings) []time.Time {
	var at []time.Time
	for _, since := range st.gone {
		at = append(at, s.written(name, since.Add(s.forget)))
	}
	return at
}

func (k *nodeAgents) writePod(ctx context.Context, pod *corev1.Pod, a *agent) error {
	if !a.mounted && !a.mountFailed {
		return nil // nothing to tell yet
	}
	if a.mountFailed && !a.reported {
		a.reported = true
		k.reportMount(ctx, pod, a)
	}
	status := podStatus(pod, a)
	if samePodStatus(pod.Status, status) {
		return nil
	}
	next := pod.DeepCopy()
	next.Status = status
	next.ResourceVersion = "" // nobody else writes this status
	_, err := k.client.CoreV1().Pods(pod.Namespace).UpdateStatus(ctx, next, metav1.UpdateOptions{})
	return ignoreNotFound(err)
}

// samePodStatus compares what we write, at the precision of the API (seconds).
func samePodStatus(have, want corev1.PodStatus) bool {
	trim := func(s corev1.PodStatus) corev1.PodStatus {
		data, _ := json.Marshal(corev1.PodStatus{Phase: s.Phase, Conditions: s.Conditions,
			InitContainerStatuses: s.InitContainerStatuses, ContainerStatuses: s.ContainerStatuses})
		var out corev1.PodStatus
		_ = json.Unmarshal(data, &out)
		for i := range out.Conditions {
			out.Conditions[i].LastTransitionTime = metav1.Time{}
			out.Conditions[i].ObservedGeneration = 0
		}
		return out
	}
	return equality.Semantic.DeepEqual(trim(have), trim(want))
}

func (k *nodeAgents) reportMount(ctx context.Context, pod *corev1.Pod, a *agent) {
	_, name, _ := strings.Cut(a.configMap, "/")
	now := metav1.Now()
	event := &corev1.Event{
		ObjectMeta: metav1.ObjectMeta{GenerateName: pod.Name + ".", Namespace: pod.Namespace},
		InvolvedObject: corev1.ObjectReference{Kind: "Pod", APIVersion: "v1", Namespace: pod.Namespace,
			Name: pod.Name, UID: pod.UID},
		Type: corev1.EventTypeWarning, Reason: "FailedMount", Count: 1,
		Message:        fmt.Sprintf("MountVolume.SetUp failed for volume %q : configmap %q not found", name, name),
		Source:         corev1.EventSource{Component: "kubelet", Host: pod.Spec.NodeName},
		FirstTimestamp: now, LastTimestamp: now,
	}
	_, _ = k.client.CoreV1().Events(pod.Namespace).Create(ctx, event, metav1.CreateOptions{})
}

// writeStatus publishes slots: allocatable follows the plugin, capacity keeps what has been until the
// kubelet forgets it.
func (k *nodeAgents) writeStatus(ctx context.Context, node *corev1.Node, st *nodeState, now time.Time) error {
	if now.Before(st.offered.at) {
		return nil
	}
	capacity, allocatable := map[string]string{}, map[string]string{}
	for name, s := range st.offered.value {
		setIfNew(capacity, node.Status.Capacity, name, s.total)
		setIfNew(allocatable, node.Status.Allocatable, name, s.healthy)
	}
	for name := range node.Status.Allocatable {
		if _, offered := st.offered.value[string(name)]; !offered && strings.HasPrefix(string(name), resourcePrefix) {
			setIfNew(allocatable, node.Status.Allocatable, string(name), 0)
		}
	}
	for name, since := range st.gone {
		if !now.Before(k.written(node.Name, since.Add(k.forget))) {
			setIfNew(capacity, node.Status.Capacity, name, 0)
		}
	}
	if len(capacity)+len(allocatable) == 0 {
		return nil
	}
	status := map[string]any{"allocatable": allocatable, "capacity": capacity}
	return k.patch(ctx, st, "status", node, map[string]any{"status": status}, "status")
}

// writeOverdue publishes what was due before now, and may be replaced now: on a busy machine we are
// late, and a kubelet would have written it. So a node whose plugin restarts is always seen without slots.
func (k *nodeAgents) writeOverdue(ctx context.Context, node *corev1.Node, st *nodeState, now time.Time) error {
	if st.offered.key == "" { // nothing has been worked out yet
		return nil
	}
	return k.writeStatus(ctx, node, st, now)
}

func setIfNew(target map[string]string, have corev1.ResourceList, name string, want int) {
	quantity, ok := have[corev1.ResourceName(name)]
	if !ok || quantity.Cmp(*resource.NewQuantity(int64(want), resource.DecimalSI)) != 0 {
		target[name] = strconv.Itoa(want)
	}
}

// writeMetadata writes the labels of GFD once they are due, and the lab's own annotation.
func (k *nodeAgents) writeMetadata(ctx context.Context, node *corev1.Node, st *nodeState, problem string, now time.Time) error {
	labels, annotations := map[string]any{}, map[string]any{}
	if st.labelled.key != "" && !now.Before(st.labelled.at) {
		labels = labelChange(node.Labels, st.labelled.value)
	}
	if want, have := loadedNote(st.agents[pluginApp], problem), node.Annotations[annotationLoaded]; want != have {
		annotations[annotationLoaded] = nilIfEmpty(want)
	}
	if len(labels)+len(annotations) == 0 {
		return nil
	}
	metadata := map[string]any{"labels": labels, "annotations": annotations}
	return k.patch(ctx, st, "metadata", node, map[string]any{"metadata": metadata})
}

// labelChange makes the labels of GFD what they should be: those that it no longer writes go.
func labelChange(have, want map[string]string) map[string]any {
	change := map[string]any{}
	for key, value := range want {
		if old, ok := have[key]; !ok || old != value {
			change[key] = value
		}
	}
	for key := range have {
		if _, ok := want[key]; !ok && byGFD(key) {
			change[key] = nil
		}
	}
	return change
}

// loadedNote is what the plugin of a node has loaded, for tests; "" when there is no plugin. The
// problem is one of the node's annotations.
func loadedNote(a *agent, problem string) string {
	if a == nil {
		return ""
	}
	note := map[string]string{}
	if a.loaded != nil {
		note["key"], note["sha256"] = a.loaded.key, a.loaded.sha256
		note["since"] = a.loaded.since.UTC().Format(time.RFC3339Nano)
	}
	if failure := a.failure(); failure != "" || problem != "" {
		note["error"] = cmp.Or(problem, failure)
	}
	var out strings.Builder
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(note)
	return strings.TrimSpace(out.String())
}

func nilIfEmpty(s string) any {
	if s == "" {
		return nil
	}
	return s
}

// patch sends a merge patch to a node, once for each version of it: until our cache has seen the
// effect, the same patch would be worked out again. A node that has gone meanwhile is no error.
func (k *nodeAgents) patch(ctx context.Context, st *nodeState, kind string, node *corev1.Node, body any, sub ...string) error {
	data, err := json.Marshal(body)
	if err != nil {
		return err
	}
	mark := node.ResourceVersion + string(data)
	if st.sent[kind] == mark {
		return nil
	}
	_, err = k.client.CoreV1().Nodes().Patch(ctx, node.Name, types.MergePatchType, data, metav1.PatchOptions{}, sub...)
	if err == nil {
		st.sent[kind] = mark
	}
	return ignoreNotFound(err)
}
