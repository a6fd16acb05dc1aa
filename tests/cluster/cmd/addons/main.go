// Command addons does for the single node what a cloud provider does for a real cluster: it makes
// local volumes for claims, gives Services of type LoadBalancer the node's address, and enforces
// network policies.
package main

import (
	"context"
	"flag"
	"os/signal"
	"syscall"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"
)

func main() {
	kubeconfig := flag.String("kubeconfig", "", "how to reach the API server")
	node := flag.String("node", "", "name of the node this runs on")
	address := flag.String("address", "", "the node's address, given to LoadBalancer Services")
	volumes := flag.String("volumes", "", "folder in which volumes are made")
	queue := flag.Int("queue", 100, "netfilter queue that gets the first packet of each connection")
	klog.InitFlags(nil)
	flag.Parse()

	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer cancel()
	config, err := clientcmd.BuildConfigFromFlags("", *kubeconfig)
	if err != nil {
		klog.Exitf("kubeconfig: %v", err)
	}
	config.QPS, config.Burst = 50, 100
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		klog.Exitf("client: %v", err)
	}

	go provisionVolumes(ctx, client, *node, *volumes)
	go assignAddresses(ctx, client, *address)
	go enforcePolicies(ctx, client, *node, *queue)
	<-ctx.Done()
}
