package check

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"helm.sh/helm/v3/pkg/action"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/util/yaml"
)

const chartPath = root + "/deploy/helm/waybill"

// full switches everything on.
func full() map[string]any {
	return map[string]any{
		"image":  map[string]any{"repository": "images.example.com/waybill", "tag": "v1.2.3"},
		"config": map[string]any{"BASE_URL": "https://waybill.example.com", "RETENTION_DAYS": 14, "HOST_CREDENTIALS": true},
		"worker": map[string]any{"autoscaling": map[string]any{"enabled": true}, "nodeSelector": map[string]any{"pool": "work"}},
		"web": map[string]any{"podAnnotations": map[string]any{"team": "events"},
			"tolerations": []any{map[string]any{"key": "x", "operator": "Exists"}}},
		"ingress": map[string]any{"enabled": true, "className": "nginx", "tlsSecret": "waybill-tls",
			"annotations": map[string]any{"nginx.ingress.kubernetes.io/proxy-read-timeout": "90"}},
		"serviceAccount": map[string]any{"annotations": map[string]any{"eks.amazonaws.com/role-arn": "arn:aws:iam::1:role/waybill"}},
		"networkPolicy": map[string]any{"ingressFrom": []any{map[string]any{"namespaceSelector": map[string]any{}}},
			"metricsFrom": []any{map[string]any{"podSelector": map[string]any{}}}},
		"imagePullSecrets": []any{map[string]any{"name": "images"}},
	}
}

// render makes the chart's manifests as `helm install` does, hooks included.
func render(values map[string]any) (string, error) {
	chart, err := loader.Load(chartPath)
	if err != nil {
		return "", err
	}
	install := action.NewInstall(&action.Configuration{})
	install.ReleaseName, install.Namespace, install.DryRun, install.ClientOnly = "events", "prod", true, true
	install.KubeVersion = &chartutil.KubeVersion{Version: "v1.34.0", Major: "1", Minor: "34"}
	release, err := install.Run(chart, values)
	if err != nil {
		return "", err
	}
	var all strings.Builder
	all.WriteString(release.Manifest)
	for _, h := range release.Hooks {
		fmt.Fprintf(&all, "\n---\n%s\n", h.Manifest)
	}
	return all.String(), nil
}

// objects reads manifests into the types of Kubernetes: a field that there is not, or twice, is an error.
func objects(t *testing.T, manifests string) map[string]runtime.Object {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{corev1.AddToScheme, appsv1.AddToScheme, batchv1.AddToScheme,
		autoscalingv2.AddToScheme, networkingv1.AddToScheme, policyv1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	decoder := serializer.NewCodecFactory(scheme, serializer.EnableStrict).UniversalDeserializer()
	found := map[string]runtime.Object{}
	for _, doc := range bytes.Split([]byte(manifests), []byte("\n---")) {
		doc = bytes.TrimPrefix(doc, []byte("---"))
		if j, err := yaml.ToJSON(doc); err != nil || string(j) == "null" {
			continue
		}
		o, kind, err := decoder.Decode(doc, &schema.GroupVersionKind{}, nil)
		if err != nil {
			t.Errorf("%v in:\n%s", err, doc)
			continue
		}
		meta := o.(interface{ GetName() string })
		found[kind.Kind+" "+meta.GetName()] = o
	}
	return found
}

func TestChartLint(t *testing.T) {
	for _, values := range []map[string]any{nil, full()} {
		if result := action.NewLint().Run([]string{chartPath}, values); len(result.Errors) > 0 {
			t.Errorf("%v", result.Errors)
		}
	}
}

func TestChart(t *testing.T) {
	manifests, err := render(full())
	if err != nil {
		t.Fatal(err)
	}
	all := objects(t, manifests)
	want := []string{"Deployment events-waybill-web", "Deployment events-waybill-worker", "HorizontalPodAutoscaler events-waybill-worker",
		"Ingress events-waybill",
		"Job events-waybill-migrate", "NetworkPolicy events-waybill", "PodDisruptionBudget events-waybill-web",
		"PodDisruptionBudget events-waybill-worker",
		"Service events-waybill", "ServiceAccount events-waybill"}
	if got := slices.Sorted(maps.Keys(all)); !slices.Equal(got, want) {
		t.Fatalf("objects are %q", got)
	}
	web, worker := all["Deployment events-waybill-web"].(*appsv1.Deployment), all["Deployment events-waybill-worker"].(*appsv1.Deployment)
	migrate := all["Job events-waybill-migrate"].(*batchv1.Job)
	for command, pod := range map[string]corev1.PodTemplateSpec{"web": web.Spec.Template, "work": worker.Spec.Template,
		"migrate": migrate.Spec.Template} {
		c := pod.Spec.Containers[0]
		var names []string
		env := map[string]string{}
		for _, v := range c.Env {
			names = append(names, v.Name)
			env[v.Name] = v.Value
		}
		if wrong := unknown(t, names); len(wrong) > 0 {
			t.Errorf("%s: Waybill does not read %v", command, wrong)
		}
		if env["RETENTION_DAYS"] != "14" || env["HOST_CREDENTIALS"] != "true" ||
			env["SECRET_KEY_FILE"] != "/run/secrets/waybill/SECRET_KEY" {
			t.Errorf("%s: the environment is %v", command, env)
		}
		if !slices.Equal(c.Args, []string{command}) || c.Image != "images.example.com/waybill:v1.2.3" ||
			pod.Spec.Volumes[0].Secret.SecretName != "waybill" {
			t.Errorf("%s: %v of %s with %v", command, c.Args, c.Image, pod.Spec.Volumes)
		}
		if !*c.SecurityContext.ReadOnlyRootFilesystem || !*pod.Spec.SecurityContext.RunAsNonRoot {
			t.Errorf("%s may do more than it needs", command)
		}
	}
	if p := web.Spec.Template.Spec.Containers[0].ReadinessProbe.HTTPGet; p.Path != "/readyz" || p.Port.String() != "http" {
		t.Errorf("web is ready when %v", p)
	}
	if worker.Spec.Replicas != nil || *web.Spec.Replicas != 2 {
		t.Error("replicas are set where the autoscaler sets them, or not where it does not")
	}
	if a := migrate.Annotations["helm.sh/hook"]; a != "pre-install,pre-upgrade" {
		t.Errorf("migrations run %q", a)
	}
	hpa := all["HorizontalPodAutoscaler events-waybill-worker"].(*autoscalingv2.HorizontalPodAutoscaler)
	if metric := hpa.Spec.Metrics[0].External.Metric.Name; hpa.Spec.ScaleTargetRef.Name != worker.Name ||
		!strings.Contains(read(t, "docs/monitoring.md"), "`"+metric+"{queue}`") {
		t.Errorf("%s is scaled by %s", hpa.Spec.ScaleTargetRef.Name, metric)
	}
	service := all["Service events-waybill"].(*corev1.Service)
	for k, v := range service.Spec.Selector {
		if web.Spec.Template.Labels[k] != v {
			t.Errorf("the service looks for %s=%s, and web is %v", k, v, web.Spec.Template.Labels)
		}
	}
	if service.Spec.Selector["app.kubernetes.io/component"] != "web" {
		t.Error("the service leads to workers, too")
	}
}

// TestChartDefaults: without values it is whole as well, and has no autoscaler or ingress.
func TestChartDefaults(t *testing.T) {
	manifests, err := render(nil)
	if err != nil {
		t.Fatal(err)
	}
	all := objects(t, manifests)
	if all["Ingress events-waybill"] != nil || all["HorizontalPodAutoscaler events-waybill-worker"] != nil || len(all) != 8 {
		t.Errorf("objects are %q", slices.Sorted(maps.Keys(all)))
	}
	if n := all["Deployment events-waybill-worker"].(*appsv1.Deployment).Spec.Replicas; n == nil || *n != 2 {
		t.Errorf("%v workers", n)
	}
	if _, err := render(map[string]any{"config": map[string]any{"SECRET_KEY": "x"}}); err == nil ||
		!strings.Contains(err.Error(), "SECRET_KEY is in config and in secretKeys") {
		t.Errorf("a secret among the settings: %v", err)
	}
}

// TestChartCheckers gives the manifests to the programs that KUBERNETES_VALIDATE and KUBE_SCORE name: the schemas of
// Kubernetes' API, and what is good practice.
func TestChartCheckers(t *testing.T) {
	validate, score := os.Getenv("KUBERNETES_VALIDATE"), os.Getenv("KUBE_SCORE")
	for name, values := range map[string]map[string]any{"defaults": nil, "full": full()} {
		manifests, err := render(values)
		if err != nil {
			t.Fatal(err)
		}
		path := write(t, t.TempDir(), "manifests.yaml", manifests)
		if validate != "" {
			if out, err := exec.CommandContext(t.Context(), validate, "--strict", "--kubernetes-version", "1.34",
				path).CombinedOutput(); err != nil {
				t.Errorf("%s: %v: %s", name, err, out)
			}
		}
		if score != "" {
			// CPU is not limited: a limit slows a process down while the machine has time. The image is pulled anew where
			// its tag says so. The account of the image is 65532, which is above what machines give to people.
			cmd := exec.CommandContext(t.Context(), score, "score", "--output-format", "ci", "--kubernetes-version", "v1.34",
				"--ignore-container-cpu-limit", "--ignore-test",
				"container-image-pull-policy,container-ephemeral-storage-request-and-limit", path)
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Errorf("%s: %v: %s", name, err, regexp.MustCompile(`(?m)^\[(OK|SKIPPED)\].*\n`).ReplaceAll(out, nil))
			}
		}
	}
}
