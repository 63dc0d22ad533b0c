// Command elector contends for a Lease with client-go's leader election and tells what happens, one JSON object a line.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
)

var out sync.Mutex

func tell(event, leader string) {
	out.Lock()
	defer out.Unlock()
	line := map[string]any{"at": float64(time.Now().UnixMicro()) / 1000, "event": event}
	if leader != "" {
		line["leader"] = leader
	}
	_ = json.NewEncoder(os.Stdout).Encode(line)
}

func main() {
	kubeconfig := flag.String("kubeconfig", "", "path of the kubeconfig")
	namespace := flag.String("namespace", "default", "namespace of the Lease")
	name := flag.String("name", "", "name of the Lease")
	identity := flag.String("identity", "", "holder identity")
	lease := flag.Duration("lease", 15*time.Second, "LeaseDuration")
	renew := flag.Duration("renew", 10*time.Second, "RenewDeadline")
	retry := flag.Duration("retry", 2*time.Second, "RetryPeriod")
	release := flag.Bool("release", false, "ReleaseOnCancel")
	wipe := flag.Bool("wipe", false, "write once what release() writes by a stale memory of being the leader, and end")
	flag.Parse()

	config, err := clientcmd.BuildConfigFromFlags("", *kubeconfig)
	if err != nil {
		panic(err)
	}
	config.Timeout = max(time.Second, *renew/2)
	client := kubernetes.NewForConfigOrDie(config)
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	lock := &resourcelock.LeaseLock{
		LeaseMeta:  metav1.ObjectMeta{Namespace: *namespace, Name: *name},
		Client:     client.CoordinationV1(),
		LockConfig: resourcelock.ResourceLockConfig{Identity: *identity},
	}
	if *wipe {
		old, _, err := lock.Get(ctx)
		if err != nil {
			panic(err)
		}
		now := metav1.Now()
		record := resourcelock.LeaderElectionRecord{
			LeaderTransitions:    old.LeaderTransitions,
			LeaseDurationSeconds: 1,
			RenewTime:            now,
			AcquireTime:          now,
		}
		if err := lock.Update(ctx, record); err != nil {
			panic(err)
		}
		tell("wiped", "")
		return
	}
	// Run returns when leadership is lost; a process of its own would exit and be started again.
	for ctx.Err() == nil {
		leaderelection.RunOrDie(ctx, leaderelection.LeaderElectionConfig{
			Lock:            lock,
			LeaseDuration:   *lease,
			RenewDeadline:   *renew,
			RetryPeriod:     *retry,
			ReleaseOnCancel: *release,
			Callbacks: leaderelection.LeaderCallbacks{
				OnStartedLeading: func(context.Context) { tell("started", "") },
				OnStoppedLeading: func() { tell("stopped", "") },
				OnNewLeader:      func(leader string) { tell("leader", leader) },
			},
		})
	}
}
