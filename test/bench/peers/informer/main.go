// Command informer keeps with client-go's informer, at its defaults, the inventory of images that kip's reflector keeps: who
// uses which image, counted by owner.
//
// It speaks protobuf, streams the initial list (WatchList, client-go's default), and a transform takes from each pod what
// kip takes, before the informer's store sees it. Prints one line of JSON when the inventory is complete, and with -stay another
// when its standard input ends.
package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/distribution/reference"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
)

func main() {
	server := flag.String("server", "", "URL of the API server")
	ca := flag.String("ca", "", "PEM file of who signed the server's certificate")
	cert := flag.String("cert", "", "PEM file of the client's certificate")
	key := flag.String("key", "", "PEM file of its key")
	stay := flag.Bool("stay", false, "watch until standard input ends")
	flag.Parse()
	config := &rest.Config{
		Host:            *server,
		TLSClientConfig: rest.TLSClientConfig{CAFile: *ca, CertFile: *cert, KeyFile: *key},
		ContentConfig:   rest.ContentConfig{ContentType: "application/vnd.kubernetes.protobuf"},
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		fail(err)
	}
	kept := &inventory{uses: map[string]map[string]int{}, normalised: map[string]string{}}
	factory := informers.NewSharedInformerFactory(client, 0)
	informer := factory.Core().V1().Pods().Informer()
	if err := informer.SetTransform(trim); err != nil {
		fail(err)
	}
	registration, err := informer.AddEventHandler(cache.ResourceEventHandlerDetailedFuncs{
		AddFunc:    func(object any, _ bool) { kept.count(object, 1) },
		UpdateFunc: func(before, after any) { kept.replace(before, after) },
		DeleteFunc: func(object any) { kept.count(object, -1) },
	})
	if err != nil {
		fail(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	factory.Start(ctx.Done())
	for !registration.HasSynced() {
		time.Sleep(time.Millisecond)
	}
	kept.tell()
	if *stay {
		_, _ = io.Copy(io.Discard, os.Stdin)
		kept.tell()
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "informer:", err)
	os.Exit(1)
}

// Keeps of a pod what kip keeps: what names its images, what placing and pulling them takes, its owner, node, and what its
// containers wait for.
func trim(object any) (any, error) {
	pod, ok := object.(*corev1.Pod)
	if !ok {
		return object, nil
	}
	kept := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Name:            pod.Name,
			Namespace:       pod.Namespace,
			UID:             pod.UID,
			ResourceVersion: pod.ResourceVersion,
			OwnerReferences: pod.OwnerReferences,
		},
		Spec: corev1.PodSpec{
			Containers:         containers(pod.Spec.Containers),
			InitContainers:     containers(pod.Spec.InitContainers),
			ImagePullSecrets:   pod.Spec.ImagePullSecrets,
			ServiceAccountName: pod.Spec.ServiceAccountName,
			NodeSelector:       pod.Spec.NodeSelector,
			Affinity:           pod.Spec.Affinity,
			Tolerations:        pod.Spec.Tolerations,
			NodeName:           pod.Spec.NodeName,
		},
	}
	for _, volume := range pod.Spec.Volumes {
		if volume.Image != nil {
			kept.Spec.Volumes = append(kept.Spec.Volumes, volume)
		}
	}
	for _, one := range pod.Spec.EphemeralContainers {
		kept.Spec.EphemeralContainers = append(kept.Spec.EphemeralContainers, corev1.EphemeralContainer{
			EphemeralContainerCommon: corev1.EphemeralContainerCommon{
				Name: one.Name, Image: one.Image, ImagePullPolicy: one.ImagePullPolicy,
			},
		})
	}
	for _, status := range pod.Status.ContainerStatuses {
		if status.State.Waiting != nil {
			kept.Status.ContainerStatuses = append(kept.Status.ContainerStatuses, corev1.ContainerStatus{
				Name:  status.Name,
				State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: status.State.Waiting.Reason}},
			})
		}
	}
	return kept, nil
}

func containers(all []corev1.Container) []corev1.Container {
	if len(all) == 0 {
		return nil
	}
	kept := make([]corev1.Container, len(all))
	for at, one := range all {
		kept[at] = corev1.Container{Name: one.Name, Image: one.Image, ImagePullPolicy: one.ImagePullPolicy}
	}
	return kept
}

// Who uses what: references, then owners, then how many of their pods.
type inventory struct {
	mutex      sync.Mutex
	uses       map[string]map[string]int
	pods       int
	events     int
	normalised map[string]string
}

func (all *inventory) replace(before, after any) {
	all.count(before, -1)
	all.count(after, 1)
}

func (all *inventory) count(object any, sign int) {
	if unknown, ok := object.(cache.DeletedFinalStateUnknown); ok {
		object = unknown.Obj
	}
	pod := object.(*corev1.Pod)
	all.mutex.Lock()
	defer all.mutex.Unlock()
	all.pods += sign
	if sign > 0 {
		all.events++
	}
	owner := "Pod " + pod.Namespace + "/" + pod.Name
	if controller := metav1.GetControllerOfNoCopy(pod); controller != nil {
		owner = controller.Kind + " " + pod.Namespace + "/" + controller.Name
	}
	for _, image := range all.images(pod) {
		owners := all.uses[image]
		if owners == nil {
			owners = map[string]int{}
			all.uses[image] = owners
		}
		owners[owner] += sign
		if owners[owner] == 0 {
			delete(owners, owner)
		}
		if len(owners) == 0 {
			delete(all.uses, image)
		}
	}
}

// The images of a pod, normalised, each once.
func (all *inventory) images(pod *corev1.Pod) []string {
	var found []string
	add := func(written string) {
		name, ok := all.normalised[written]
		if !ok {
			if parsed, err := reference.ParseNormalizedNamed(written); err == nil {
				name = reference.TagNameOnly(parsed).String()
			}
			all.normalised[written] = name
		}
		if name != "" && !slices.Contains(found, name) {
			found = append(found, name)
		}
	}
	for _, one := range pod.Spec.Containers {
		add(one.Image)
	}
	for _, one := range pod.Spec.InitContainers {
		add(one.Image)
	}
	for _, one := range pod.Spec.EphemeralContainers {
		add(one.Image)
	}
	for _, volume := range pod.Spec.Volumes {
		add(volume.Image.Reference)
	}
	return found
}

// Prints how much there is, and a digest that tells whether two programs have the same: of each image how many owners use it, in
// how many pods.
func (all *inventory) tell() {
	all.mutex.Lock()
	defer all.mutex.Unlock()
	var lines []string
	for image, owners := range all.uses {
		pods := 0
		for _, count := range owners {
			pods += count
		}
		lines = append(lines, fmt.Sprintf("%s %d %d\n", image, len(owners), pods))
	}
	slices.Sort(lines)
	digest := sha256.New()
	for _, line := range lines {
		_, _ = io.WriteString(digest, line)
	}
	told := map[string]any{
		"pods":   all.pods,
		"images": len(all.uses),
		"events": all.events,
		"digest": hex.EncodeToString(digest.Sum(nil)),
	}
	if err := json.NewEncoder(os.Stdout).Encode(told); err != nil {
		fail(err)
	}
}
