//go:build cluster

package check

import (
	"os"
	"strings"
	"testing"

	"helm.sh/helm/v3/pkg/action"
	"helm.sh/helm/v3/pkg/chart/loader"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/client-go/kubernetes"
)

// TestClusterChart installs, upgrades and removes the chart with Helm at the API server that KUBE_SERVER and KUBE_TOKEN
// name. No machine is there to run anything: what is tried is whether the server takes each object, and whether pods of
// ours may run where Pod Security is "restricted".
func TestClusterChart(t *testing.T) {
	server, token, namespace, insecure := os.Getenv("KUBE_SERVER"), os.Getenv("KUBE_TOKEN"), "prod", true
	flags := genericclioptions.NewConfigFlags(false)
	flags.APIServer, flags.BearerToken, flags.Namespace, flags.Insecure = &server, &token, &namespace, &insecure
	helm := new(action.Configuration)
	if err := helm.Init(flags, namespace, "secrets", t.Logf); err != nil {
		t.Fatal(err)
	}
	rest, err := flags.ToRESTConfig()
	if err != nil {
		t.Fatal(err)
	}
	client, err := kubernetes.NewForConfig(rest)
	if err != nil {
		t.Fatal(err)
	}
	_, err = client.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace,
		Labels: map[string]string{"pod-security.kubernetes.io/enforce": "restricted"}}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	chart, err := loader.Load(chartPath)
	if err != nil {
		t.Fatal(err)
	}

	install := action.NewInstall(helm)
	install.ReleaseName, install.Namespace, install.DisableHooks = "events", namespace, true // nobody would run the job
	if _, err := install.Run(chart, nil); err != nil {
		t.Fatalf("install: %v", err)
	}
	upgrade := action.NewUpgrade(helm)
	upgrade.Namespace, upgrade.DisableHooks = namespace, true
	if _, err := upgrade.Run("events", chart, full()); err != nil {
		t.Fatalf("upgrade: %v", err)
	}
	for _, name := range []string{"events-waybill-web", "events-waybill-worker"} {
		d, err := client.AppsV1().Deployments(namespace).Get(t.Context(), name, metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if image := d.Spec.Template.Spec.Containers[0].Image; image != "images.example.com/waybill:v1.2.3" {
			t.Errorf("%s runs %s after the upgrade", name, image)
		}
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: d.Spec.Template.Labels}, Spec: d.Spec.Template.Spec}
		if _, err := client.CoreV1().Pods(namespace).Create(t.Context(), pod, metav1.CreateOptions{}); err != nil {
			t.Errorf("a pod of %s: %v", name, err)
		}
	}
	manifests, err := render(full())
	if err != nil {
		t.Fatal(err)
	}
	migrate, err := helm.KubeClient.Build(strings.NewReader(document(t, manifests, "kind: Job")), true)
	if err == nil {
		_, err = helm.KubeClient.Create(migrate)
	}
	if err != nil {
		t.Errorf("the job that migrates: %v", err)
	}
	if _, err := action.NewUninstall(helm).Run("events"); err != nil {
		t.Errorf("uninstall: %v", err)
	}
}
