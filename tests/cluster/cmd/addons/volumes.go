package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/sig-storage-lib-external-provisioner/v13/controller"
)

// provisionerName is what the StorageClass names.
const provisionerName = "crm-platform.invalid/local"

// localVolumes makes each volume as a folder. They are of the type "local", not "hostPath", so
// that the kubelet gives them to a pod's fsGroup, as it does with a cloud's disks.
type localVolumes struct {
	node, folder string
}

func provisionVolumes(ctx context.Context, client kubernetes.Interface, node, folder string) {
	provisioner := &localVolumes{node: node, folder: folder}
	controller.NewProvisionController(ctx, client, provisionerName, provisioner,
		controller.LeaderElection(false), controller.MetricsPort(0)).Run(ctx)
}

func (l *localVolumes) Provision(
	_ context.Context, options controller.ProvisionOptions,
) (*v1.PersistentVolume, controller.ProvisioningState, error) {
	claim := options.PVC
	for _, mode := range claim.Spec.AccessModes {
		if mode == v1.ReadWriteMany || mode == v1.ReadOnlyMany {
			return nil, controller.ProvisioningFinished,
				fmt.Errorf("access mode %s: a disk is mounted on one node", mode)
		}
	}
	path := filepath.Join(l.folder, options.PVName)
	if err := os.MkdirAll(path, 0o755); err != nil {
		return nil, controller.ProvisioningFinished, err
	}
	return &v1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: options.PVName},
		Spec: v1.PersistentVolumeSpec{
			PersistentVolumeReclaimPolicy: *options.StorageClass.ReclaimPolicy,
			AccessModes:                   claim.Spec.AccessModes,
			VolumeMode:                    claim.Spec.VolumeMode,
			Capacity: v1.ResourceList{
				v1.ResourceStorage: claim.Spec.Resources.Requests[v1.ResourceStorage],
			},
			PersistentVolumeSource: v1.PersistentVolumeSource{
				Local: &v1.LocalVolumeSource{Path: path},
			},
			NodeAffinity: &v1.VolumeNodeAffinity{Required: &v1.NodeSelector{
				NodeSelectorTerms: []v1.NodeSelectorTerm{{
					MatchExpressions: []v1.NodeSelectorRequirement{{
						Key:      v1.LabelHostname,
						Operator: v1.NodeSelectorOpIn,
						Values:   []string{l.node},
					}},
				}},
			}},
		},
	}, controller.ProvisioningFinished, nil
}

func (l *localVolumes) Delete(_ context.Context, volume *v1.PersistentVolume) error {
	return os.RemoveAll(filepath.Join(l.folder, volume.Name))
}
