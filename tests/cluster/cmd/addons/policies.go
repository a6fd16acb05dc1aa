package main

import (
	"context"

	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/klog/v2"
	"sigs.k8s.io/kube-network-policies/pkg/networkpolicy"
)

// enforcePolicies runs SIG Network's controller: the kernel hands it the first packet of each
// connection through a netfilter queue, and it says whether the policies allow it.
//
// The controller also writes nftables rules that fill the queue. A kernel without
// CONFIG_NFT_QUEUE refuses those, all at once, so the node fills the same queue with iptables
// (see node.py); where both are there, a packet is judged twice, alike.
func enforcePolicies(ctx context.Context, client kubernetes.Interface, node string, queue int) {
	factory := informers.NewSharedInformerFactory(client, 0)
	controller, err := networkpolicy.NewController(
		client,
		factory.Networking().V1().NetworkPolicies(),
		factory.Core().V1().Namespaces(),
		factory.Core().V1().Pods(),
		nil, nil, nil, nil,
		networkpolicy.Config{NodeName: node, QueueID: queue},
	)
	if err != nil {
		klog.Exitf("network policies: %v", err)
	}
	factory.Start(ctx.Done())
	if err := controller.Run(ctx); err != nil {
		klog.Exitf("network policies: %v", err)
	}
}
