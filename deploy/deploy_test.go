// SPDX-License-Identifier: Apache-2.0

package deploy

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/ebpftcp/ebpftcpreceiver/internal/capability"
)

// names are those of the capabilities that are required, or of the others.
func names(required bool) []string {
	var all []string
	for _, use := range capability.Uses() {
		if use.Required == required {
			all = append(all, use.Capability.String())
		}
	}
	return all
}

// readUnit returns the values of each key of a unit's [Service] section.
func readUnit(t *testing.T, path string) map[string][]string {
	t.Helper()
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	keys := map[string][]string{}
	section := ""
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		line := lines.Text()
		switch key, value, ok := strings.Cut(line, "="); {
		case strings.HasPrefix(line, "["):
			section = line
		case ok && section == "[Service]" && !strings.HasPrefix(line, "#"):
			keys[key] = append(keys[key], value)
		}
	}
	return keys
}

func TestUnitGivesWhatIsNeeded(t *testing.T) {
	unit := readUnit(t, "systemd/otelcol-ebpf-tcp.service")
	for _, key := range []string{"AmbientCapabilities", "CapabilityBoundingSet"} {
		require.Len(t, unit[key], 1, key)
		assert.ElementsMatch(t, names(true), strings.Fields(unit[key][0]), key)
	}
	assert.Equal(t, []string{"yes"}, unit["DynamicUser"])
	assert.Equal(t, []string{"infinity"}, unit["LimitMEMLOCK"])
	for _, worthless := range []string{"PrivateUsers", "PrivateNetwork", "ProtectProc", "ProcSubset"} {
		assert.NotContains(t, unit, worthless)
	}
	require.NotEmpty(t, unit["SystemCallFilter"])
	last := unit["SystemCallFilter"][len(unit["SystemCallFilter"])-1]
	assert.Equal(t, "bpf perf_event_open", last, "after what forbids them")
	assert.Equal(t, []string{"EPERM"}, unit["SystemCallErrorNumber"])
}

// daemonSet is what of the manifest the tests look at. Other fields are ignored.
type daemonSet struct {
	Spec struct {
		Template struct{ Spec podSpec }
	}
}

type podSpec struct {
	AutomountServiceAccountToken *bool `yaml:"automountServiceAccountToken"`
	HostNetwork                  bool  `yaml:"hostNetwork"`
	HostPID                      bool  `yaml:"hostPID"`
	HostIPC                      bool  `yaml:"hostIPC"`
	Containers                   []container
}

type container struct {
	Args            []string
	Env             []struct{ Name, Value string }
	SecurityContext securityContext `yaml:"securityContext"`
	Ports           []struct {
		ContainerPort int `yaml:"containerPort"`
	}
	LivenessProbe  probeSpec `yaml:"livenessProbe"`
	ReadinessProbe probeSpec `yaml:"readinessProbe"`
	Resources      struct{ Limits map[string]string }
	VolumeMounts   []struct {
		MountPath string `yaml:"mountPath"`
		ReadOnly  bool   `yaml:"readOnly"`
	} `yaml:"volumeMounts"`
}

type probeSpec struct {
	TCPSocket *endpoint `yaml:"tcpSocket"`
	HTTPGet   *endpoint `yaml:"httpGet"`
}

type endpoint struct {
	Host, Path string
	Port       int
}

type securityContext struct {
	Privileged               *bool
	AllowPrivilegeEscalation *bool `yaml:"allowPrivilegeEscalation"`
	ReadOnlyRootFilesystem   bool  `yaml:"readOnlyRootFilesystem"`
	RunAsUser                *int  `yaml:"runAsUser"`
	Capabilities             struct{ Drop, Add []string }
	SeccompProfile           struct{ Type string } `yaml:"seccompProfile"`
}

// readDaemonSet returns the DaemonSet, and the text of the whole manifest.
func readDaemonSet(t *testing.T) (*daemonSet, string) {
	t.Helper()
	text, err := os.ReadFile("kubernetes/daemonset.yaml")
	require.NoError(t, err)
	for documents := yaml.NewDecoder(bytes.NewReader(text)); ; {
		var document yaml.Node
		err := documents.Decode(&document)
		require.False(t, errors.Is(err, io.EOF), "no DaemonSet in the manifest")
		require.NoError(t, err)
		var head struct{ Kind string }
		require.NoError(t, document.Decode(&head))
		if head.Kind != "DaemonSet" {
			continue
		}
		found := &daemonSet{}
		require.NoError(t, document.Decode(found))
		return found, string(text)
	}
}

func TestDaemonSetGivesWhatIsNeeded(t *testing.T) {
	set, text := readDaemonSet(t)
	pod := set.Spec.Template.Spec
	assert.True(t, pod.HostNetwork)
	assert.True(t, pod.HostPID)
	assert.False(t, pod.HostIPC)
	require.NotNil(t, pod.AutomountServiceAccountToken)
	assert.False(t, *pod.AutomountServiceAccountToken)
	require.Len(t, pod.Containers, 1)
	context := pod.Containers[0].SecurityContext
	require.NotNil(t, context.Privileged)
	assert.False(t, *context.Privileged)
	require.NotNil(t, context.AllowPrivilegeEscalation)
	assert.False(t, *context.AllowPrivilegeEscalation)
	assert.True(t, context.ReadOnlyRootFilesystem)
	require.NotNil(t, context.RunAsUser)
	assert.Zero(t, *context.RunAsUser, "another user would have no capabilities")
	assert.Equal(t, "RuntimeDefault", context.SeccompProfile.Type)
	assert.Equal(t, []string{"ALL"}, context.Capabilities.Drop)
	assert.ElementsMatch(t, names(true), prefixed(context.Capabilities.Add))

	// What is left out is named, with what it would give.
	var commented []string
	for _, match := range regexp.MustCompile(`(?m)^ *# - ([A-Z_]+)$`).FindAllStringSubmatch(text, -1) {
		commented = append(commented, match[1])
	}
	require.NotEmpty(t, commented)
	assert.Subset(t, names(false), prefixed(commented))

	require.NotEmpty(t, pod.Containers[0].VolumeMounts)
	for _, mount := range pod.Containers[0].VolumeMounts {
		assert.True(t, mount.ReadOnly, mount.MountPath)
	}
	assert.NotEmpty(t, pod.Containers[0].Resources.Limits["memory"])
}

// byStatus lets the health check answer by component status.
const byStatus = "--feature-gates=+extension.healthcheck.useComponentStatus"

// TestHealthAndTelemetry: readiness goes by component status, liveness does not, and
// what the receiver lost can be scraped; on ports that no other collector has.
func TestHealthAndTelemetry(t *testing.T) {
	set, text := readDaemonSet(t)
	c := set.Spec.Template.Spec.Containers[0]
	assert.Contains(t, c.Args, byStatus)
	require.NotNil(t, c.ReadinessProbe.HTTPGet)
	assert.Equal(t, endpoint{Host: "127.0.0.1", Path: "/health", Port: 13134}, *c.ReadinessProbe.HTTPGet)
	require.NotNil(t, c.LivenessProbe.TCPSocket)
	assert.Nil(t, c.LivenessProbe.HTTPGet, "a permanent error is no reason to start again")
	require.Len(t, c.Ports, 1)
	assert.Contains(t, text, fmt.Sprintf("host: ${env:POD_IP}\n                    port: %d\n", c.Ports[0].ContainerPort))
	for _, file := range []string{"kubernetes/daemonset.yaml", "systemd/config.yaml", "../examples/collector.yaml", "../examples/agent-to-otlp.yaml", "../examples/kong.yaml"} {
		config, err := os.ReadFile(file)
		require.NoError(t, err)
		assert.NotRegexp(t, `(?m)^[^#]*\b(8888|13133)\b`, string(config), file)
		assert.Contains(t, string(config), "include_permanent_errors: true", file)
	}
	assert.Contains(t, readUnit(t, "systemd/otelcol-ebpf-tcp.service")["ExecStart"][0], byStatus)
}

// TestGoKnowsTheMemoryLimit: the runtime's is below the cgroup's, with room for the maps.
func TestGoKnowsTheMemoryLimit(t *testing.T) {
	const maps = 64
	set, _ := readDaemonSet(t)
	c := set.Spec.Template.Spec.Containers[0]
	limit := ""
	for _, v := range c.Env {
		if v.Name == "GOMEMLIMIT" {
			limit = v.Value
		}
	}
	assert.LessOrEqual(t, mebibytes(t, limit)+maps, mebibytes(t, c.Resources.Limits["memory"]))

	unit := readUnit(t, "systemd/otelcol-ebpf-tcp.service")
	require.Len(t, unit["Environment"], 1)
	assert.LessOrEqual(t, mebibytes(t, strings.TrimPrefix(unit["Environment"][0], "GOMEMLIMIT="))+maps, mebibytes(t, unit["MemoryMax"][0]))
}

func mebibytes(t *testing.T, text string) int {
	t.Helper()
	var n int
	var unit string
	_, err := fmt.Sscanf(text, "%d%s", &n, &unit)
	require.NoError(t, err, text)
	require.Contains(t, []string{"M", "Mi", "MiB"}, unit)
	return n
}

func prefixed(capabilities []string) []string {
	all := make([]string, len(capabilities))
	for i, c := range capabilities {
		all[i] = "CAP_" + c
	}
	return all
}

func TestDockerfileGivesWhatIsNeeded(t *testing.T) {
	text, err := os.ReadFile("kubernetes/Dockerfile")
	require.NoError(t, err)
	match := regexp.MustCompile(`setcap (\S+)=ep`).FindSubmatch(text)
	require.NotNil(t, match)
	assert.ElementsMatch(t, names(true), strings.Split(strings.ToUpper(string(match[1])), ","))
}
