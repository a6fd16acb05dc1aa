package main

import (
	"context"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"
)

// assignAddresses gives every Service of type LoadBalancer the node's own address. kube-proxy does
// the balancing; two such Services with the same port are in each other's way.
func assignAddresses(ctx context.Context, client kubernetes.Interface, address string) {
	factory := informers.NewSharedInformerFactory(client, 0)
	services := factory.Core().V1().Services().Informer()
	assign := func(object any) {
		service, ok := object.(*v1.Service)
		if !ok || service.Spec.Type != v1.ServiceTypeLoadBalancer ||
			service.Spec.LoadBalancerClass != nil || service.DeletionTimestamp != nil {
			return
		}
		assigned := service.Status.LoadBalancer.Ingress
		if len(assigned) == 1 && assigned[0].IP == address {
			return
		}
		changed := service.DeepCopy()
		changed.Status.LoadBalancer.Ingress = []v1.LoadBalancerIngress{{IP: address}}
		_, err := client.CoreV1().Services(service.Namespace).
			UpdateStatus(ctx, changed, metav1.UpdateOptions{})
		if err != nil {
			// A conflict means a newer version, which arrives here as an update of its own.
			klog.Errorf("address of service %s/%s: %v", service.Namespace, service.Name, err)
		}
	}
	_, err := services.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    assign,
		UpdateFunc: func(_, object any) { assign(object) },
	})
	if err != nil {
		klog.Exitf("watching services: %v", err)
	}
	factory.Start(ctx.Done())
	<-ctx.Done()
}
