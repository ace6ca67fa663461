// SPDX-FileCopyrightText: 2026 gpufleet.sharing contributors
// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// podStatus is what a kubelet would report for the pod of an agent.
func podStatus(pod *corev1.Pod, a *agent) corev1.PodStatus {
	status := corev1.PodStatus{Phase: corev1.PodPending, QOSClass: pod.Status.QOSClass}
	if !a.startAt.IsZero() {
		start := metav1.NewTime(a.startAt)
		status.StartTime = &start
	}
	initialized := a.mounted && (a.initDone || !a.managed)
	if initialized {
		status.Phase = corev1.PodRunning
	}
	for _, c := range pod.Spec.InitContainers {
		status.InitContainerStatuses = append(status.InitContainerStatuses, initStatus(c, a))
	}
	for _, c := range pod.Spec.Containers {
		state := &a.main
		if c.Name == sidecarName {
			state = a.sideShown()
		}
		status.ContainerStatuses = append(status.ContainerStatuses, containerStatus(c, state, initialized))
	}
	status.Conditions = conditions(pod, initialized, a.ready(), a.changedAt())
	return status
}

func initStatus(c corev1.Container, a *agent) corev1.ContainerStatus {
	status := corev1.ContainerStatus{Name: c.Name, Image: c.Image}
	done := &a.init
	switch {
	case !a.mounted:
		status.State.Waiting = &corev1.ContainerStateWaiting{Reason: "PodInitializing"}
		return status
	case c.Name != initName: // waits for the driver; always succeeds here
		done = &container{startedAt: a.refreshed, endedAt: a.refreshed}
	case !a.initDone:
		return containerStatus(c, &a.init, true)
	}
	status.Ready = true
	status.RestartCount = int32(done.restarts)
	status.State.Terminated = &corev1.ContainerStateTerminated{Reason: "Completed",
		StartedAt: metav1.NewTime(done.startedAt), FinishedAt: metav1.NewTime(done.endedAt)}
	return status
}

func containerStatus(c corev1.Container, state *container, initialized bool) corev1.ContainerStatus {
	status := corev1.ContainerStatus{Name: c.Name, Image: c.Image, Ready: state.running,
		Started: &state.running, RestartCount: int32(state.restarts)}
	switch {
	case state.running:
		status.State.Running = &corev1.ContainerStateRunning{StartedAt: metav1.NewTime(state.startedAt)}
	case !initialized || state.startedAt.IsZero():
		status.State.Waiting = &corev1.ContainerStateWaiting{Reason: "PodInitializing"}
	case !state.backingOff:
		status.State.Terminated = ended(state) // about to be started again
		return status
	default:
		status.State.Waiting = &corev1.ContainerStateWaiting{Reason: "CrashLoopBackOff",
			Message: "back-off restarting failed container=" + c.Name}
	}
	if state.failure != "" {
		status.LastTerminationState.Terminated = ended(state)
	}
	return status
}

func ended(state *container) *corev1.ContainerStateTerminated {
	return &corev1.ContainerStateTerminated{ExitCode: 1, Reason: "Error",
		StartedAt: metav1.NewTime(state.endedAt), FinishedAt: metav1.NewTime(state.endedAt)}
}

// conditions keeps those of others (PodScheduled) and sets the kubelet's.
func conditions(pod *corev1.Pod, initialized, ready bool, changed time.Time) []corev1.PodCondition {
	ours := []corev1.PodCondition{
		condition(corev1.PodInitialized, initialized, "ContainersNotInitialized", changed),
		condition(corev1.ContainersReady, ready, "ContainersNotReady", changed),
		condition(corev1.PodReady, ready, "ContainersNotReady", changed),
	}
	var all []corev1.PodCondition
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodScheduled {
			all = append(all, c)
		}
		for i := range ours {
			if ours[i].Type == c.Type && ours[i].Status == c.Status {
				ours[i].LastTransitionTime = c.LastTransitionTime
			}
		}
	}
	return append(all, ours...)
}

func condition(kind corev1.PodConditionType, holds bool, reason string, changed time.Time) corev1.PodCondition {
	c := corev1.PodCondition{Type: kind, Status: corev1.ConditionTrue, LastTransitionTime: metav1.NewTime(changed)}
	if !holds {
		c.Status, c.Reason = corev1.ConditionFalse, reason
	}
	return c
}

// changedAt is the last moment at which a container came or went.
func (a *agent) changedAt() time.Time {
	last := a.startAt
	for _, c := range []*container{&a.init, &a.main, &a.side} {
		for _, t := range []time.Time{c.startedAt, c.endedAt} {
			if t.After(last) {
				last = t
			}
		}
	}
	return last
}
