// SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/dynamic/dynamicinformer"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	appslisters "k8s.io/client-go/listers/apps/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/klog/v2"
)

const (
	workers = 16
	allPods = "app in (" + pluginApp + "," + gfdApp + "," + mpsApp + ")"
	crdName = "clusterpolicies.nvidia.com"
)

var crds = schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}

type queue = workqueue.TypedRateLimitingInterface[string]

// simulator wires informers to three queues: nodes (kubelet, plugin, GFD), labels of nodes
// (operator) and the operator itself.
type simulator struct {
	client                kubernetes.Interface
	dynamic               dynamic.Interface
	nodeQueue, labelQueue queue
	operatorQueue         queue
	agents                *nodeAgents
	operator              *operator

	mu           sync.Mutex
	policyStore  cache.Store
	stopPolicies context.CancelFunc
}

func run(ctx context.Context, kubeconfig, readyFile string, s settings) error {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return err
	}
	config.QPS = -1
	config.UserAgent = "gpusim"
	sim := &simulator{nodeQueue: newQueue(), labelQueue: newQueue(), operatorQueue: newQueue()}
	if sim.dynamic, err = dynamic.NewForConfig(config); err != nil {
		return err
	}
	config.ContentType = runtime.ContentTypeProtobuf // half the work for the API server
	if sim.client, err = kubernetes.NewForConfig(config); err != nil {
		return err
	}
	if err := sim.watch(ctx, s); err != nil {
		return err
	}
	if readyFile != "" {
		if err := os.WriteFile(readyFile, []byte("ready\n"), 0o600); err != nil {
			return err
		}
	}
	var group sync.WaitGroup
	start := func(n int, q queue, handle func(context.Context, string) error) {
		for range n {
			group.Add(1)
			go func() { defer group.Done(); work(ctx, q, handle) }()
		}
	}
	if !s.operatorOnly {
		start(workers, sim.nodeQueue, sim.agents.sync)
	}
	if !s.nodesOnly {
		start(workers, sim.labelQueue, sim.operator.syncNode)
		start(1, sim.operatorQueue, func(ctx context.Context, _ string) error { return sim.operator.sync(ctx) })
	}
	<-ctx.Done()
	for _, q := range []queue{sim.nodeQueue, sim.labelQueue, sim.operatorQueue} {
		q.ShutDown()
	}
	group.Wait()
	return nil
}

func newQueue() queue {
	limiter := workqueue.NewTypedItemExponentialFailureRateLimiter[string](20*time.Millisecond, 2*time.Second)
	return workqueue.NewTypedRateLimitingQueue(limiter)
}

func work(ctx context.Context, q queue, handle func(context.Context, string) error) {
	for {
		key, down := q.Get()
		if down {
			return
		}
		if err := handle(ctx, key); err != nil && ctx.Err() == nil {
			klog.Warningf("%s: %v", key, err)
			q.AddRateLimited(key)
		} else {
			q.Forget(key)
		}
		q.Done(key)
	}
}

// sources are the informers that everything is read from.
type sources struct {
	all, pods, asking, deployments informers.SharedInformerFactory
	definitions                    dynamicinformer.DynamicSharedInformerFactory
}

func (sim *simulator) sources() sources {
	transform := informers.WithTransform(func(object any) (any, error) {
		if accessor, ok := object.(metav1.Object); ok {
			accessor.SetManagedFields(nil)
		}
		return object, nil
	})
	only := func(label, field string) func(*metav1.ListOptions) {
		return func(o *metav1.ListOptions) { o.LabelSelector, o.FieldSelector = label, field }
	}
	factory := func(label, field string) informers.SharedInformerFactory {
		return informers.NewSharedInformerFactoryWithOptions(sim.client, 0, transform,
			informers.WithTweakListOptions(only(label, field)))
	}
	return sources{
		all: factory("", ""), pods: factory(allPods, ""), asking: factory(labelAdmission+"="+admissionAsked, ""),
		deployments: factory("", "metadata.name="+operatorName),
		definitions: dynamicinformer.NewFilteredDynamicSharedInformerFactory(sim.dynamic, 0, "",
			only("", "metadata.name="+crdName)),
	}
}

// watch starts the informers and returns once they have synced.
func (sim *simulator) watch(ctx context.Context, s settings) error {
	from := sim.sources()
	nodes, sets := from.all.Core().V1().Nodes(), from.all.Apps().V1().DaemonSets()
	pods := from.pods.Core().V1().Pods().Informer()
	deployments := from.deployments.Apps().V1().Deployments()
	asking := from.asking.Core().V1().Pods().Informer()
	for _, informer := range []cache.SharedIndexInformer{pods, asking} {
		if err := informer.AddIndexers(cache.Indexers{byNode: nodeOf}); err != nil {
			return err
		}
	}
	sim.agents = &nodeAgents{
		client: sim.client, nodes: nodes.Lister(), pods: pods.GetIndexer(), asking: asking.GetIndexer(),
		history: newHistory(s.filePropagation.most), parser: newParser(), settings: s,
		wake: sim.nodeQueue.AddAfter,
		migManaged: func() bool {
			if s.nodesOnly {
				return installed(sets.Lister(), migManagerApp)
			}
			return sim.operator.migManaged()
		},
		gfdInstalled: func() bool { return installed(sets.Lister(), gfdApp) },
		state:        map[string]*nodeState{},
	}
	sim.operator = &operator{
		client: sim.client, dynamic: sim.dynamic, nodes: nodes.Lister(),
		deployments: deployments.Lister(), daemonSets: sets.Lister(),
		policies: sim.policies, statusLag: s.statusLag, real: s.operatorOnly,
		wake:     func(after time.Duration) { sim.operatorQueue.AddAfter("operator", after) },
		wakeNode: sim.labelQueue.Add,
	}
	for informer, handler := range map[cache.SharedIndexInformer]cache.ResourceEventHandler{
		nodes.Informer(): sim.onNode(),
		pods:             onAny(sim.onPod),
		asking:           onAny(sim.onPod),
		from.all.Core().V1().ConfigMaps().Informer(): sim.onConfigMap(),
		sets.Informer():                               onAny(sim.onDaemonSet),
		deployments.Informer():                        onAny(sim.wakeOperator),
		from.definitions.ForResource(crds).Informer(): sim.onDefinition(ctx),
	} {
		if _, err := informer.AddEventHandler(handler); err != nil {
			return err
		}
	}
	return from.start(ctx)
}

func (from sources) start(ctx context.Context) error {
	from.definitions.Start(ctx.Done())
	from.definitions.WaitForCacheSync(ctx.Done())
	for _, factory := range []informers.SharedInformerFactory{from.all, from.pods, from.asking, from.deployments} {
		factory.Start(ctx.Done())
		for kind, ok := range factory.WaitForCacheSync(ctx.Done()) {
			if !ok {
				return fmt.Errorf("%v: no cache", kind)
			}
		}
	}
	return nil
}

func onAny(do func(object any)) cache.ResourceEventHandler {
	return cache.ResourceEventHandlerFuncs{
		AddFunc:    do,
		UpdateFunc: func(_, object any) { do(object) },
		DeleteFunc: func(object any) { do(unwrap(object)) },
	}
}

func unwrap(object any) any {
	if gone, ok := object.(cache.DeletedFinalStateUnknown); ok {
		return gone.Obj
	}
	return object
}

func (sim *simulator) onNode() cache.ResourceEventHandler {
	return cache.ResourceEventHandlerFuncs{
		AddFunc: func(object any) {
			sim.nodeQueue.Add(object.(*corev1.Node).Name)
			sim.labelQueue.Add(object.(*corev1.Node).Name)
			sim.wakeOperator(object)
		},
		UpdateFunc: func(before, after any) {
			node := after.(*corev1.Node)
			if before.(*corev1.Node).Labels[labelMIG] != "" && node.Labels[labelMIG] == "" {
				sim.agents.migCleared.Store(node.Name, true)
			}
			sim.nodeQueue.Add(node.Name)
			if before.(*corev1.Node).Labels[labelPresent] != node.Labels[labelPresent] {
				sim.wakeOperator(node)
			}
			if needsLabels(before.(*corev1.Node), node) {
				sim.labelQueue.Add(node.Name)
			}
		},
		DeleteFunc: func(object any) {
			sim.nodeQueue.Add(unwrap(object).(*corev1.Node).Name)
			sim.wakeOperator(object)
		},
	}
}

func nodeOf(object any) ([]string, error) {
	return []string{object.(*corev1.Pod).Spec.NodeName}, nil
}

func (sim *simulator) onPod(object any) {
	if node := object.(*corev1.Pod).Spec.NodeName; node != "" {
		sim.nodeQueue.Add(node)
	}
}

// onConfigMap records contents; only pods that wait for a missing ConfigMap need to be woken.
func (sim *simulator) onConfigMap() cache.ResourceEventHandler {
	record := func(object any) {
		cm := object.(*corev1.ConfigMap)
		files := make(map[string]string, len(cm.Data)+len(cm.BinaryData))
		for key, value := range cm.Data {
			files[key] = value
		}
		for key, value := range cm.BinaryData {
			files[key] = string(value)
		}
		sim.agents.history.record(cm.Namespace+"/"+cm.Name, files, time.Now())
	}
	return cache.ResourceEventHandlerFuncs{
		AddFunc: func(object any) {
			record(object)
			sim.wakeNodes()
		},
		UpdateFunc: func(_, object any) { record(object) },
		DeleteFunc: func(object any) {
			cm := unwrap(object).(*corev1.ConfigMap)
			sim.agents.history.record(cm.Namespace+"/"+cm.Name, nil, time.Now())
		},
	}
}

func (sim *simulator) onDaemonSet(object any) {
	set := object.(*appsv1.DaemonSet)
	if owner := metav1.GetControllerOf(set); owner != nil && owner.Kind == "ClusterPolicy" {
		sim.wakeOperator(object)
	}
	if set.Name == gfdApp && !sim.agents.gfdInstalled() {
		sim.wakeNodes()
	}
}

func installed(sets appslisters.DaemonSetLister, name string) bool {
	all, _ := sets.List(labels.Everything())
	return slices.ContainsFunc(all, func(set *appsv1.DaemonSet) bool { return set.Name == name })
}

func (sim *simulator) wakeNodes() {
	nodes, _ := sim.agents.nodes.List(labels.Everything())
	for _, node := range nodes {
		sim.nodeQueue.Add(node.Name)
	}
}

func (sim *simulator) wakeOperator(any) { sim.operatorQueue.Add("operator") }

// onDefinition watches ClusterPolicies for as long as their CRD exists.
func (sim *simulator) onDefinition(ctx context.Context) cache.ResourceEventHandler {
	see := func(object any) {
		if established(object.(*unstructured.Unstructured)) {
			sim.watchPolicies(ctx)
		}
	}
	return cache.ResourceEventHandlerFuncs{
		AddFunc:    see,
		UpdateFunc: func(_, object any) { see(object) },
		DeleteFunc: func(any) { sim.forgetPolicies() },
	}
}

func established(definition *unstructured.Unstructured) bool {
	conditions, _, _ := unstructured.NestedSlice(definition.Object, "status", "conditions")
	for _, entry := range conditions {
		c, ok := entry.(map[string]any)
		if ok && c["type"] == "Established" && c["status"] == "True" {
			return definition.GetDeletionTimestamp() == nil
		}
	}
	return false
}

func (sim *simulator) watchPolicies(ctx context.Context) {
	sim.mu.Lock()
	defer sim.mu.Unlock()
	if sim.policyStore != nil {
		return
	}
	ctx, sim.stopPolicies = context.WithCancel(ctx)
	informer := dynamicinformer.NewDynamicSharedInformerFactory(sim.dynamic, 0).ForResource(policies).Informer()
	_, _ = informer.AddEventHandler(onAny(sim.wakeOperator))
	go informer.Run(ctx.Done())
	cache.WaitForCacheSync(ctx.Done(), informer.HasSynced)
	sim.policyStore = informer.GetStore()
	sim.wakeOperator(nil)
}

func (sim *simulator) forgetPolicies() {
	sim.mu.Lock()
	defer sim.mu.Unlock()
	if sim.policyStore != nil {
		sim.stopPolicies()
		sim.policyStore = nil
	}
	sim.wakeOperator(nil)
}

func (sim *simulator) policies() cache.Store {
	sim.mu.Lock()
	defer sim.mu.Unlock()
	return sim.policyStore
}
