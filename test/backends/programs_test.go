// SPDX-License-Identifier: Apache-2.0

//go:build privileged

package backends

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ebpftcp/ebpftcpreceiver/internal/testbed/lab"
)

// system is the collector and the backends that it sends to.
type system struct {
	// t is that of the whole run.
	t         *testing.T
	collector *lab.Collector
	// prometheus gets OTLP, and scrapes the collector. Scraped series have the label via="scrape".
	prometheus, victoria metrics
	logs                 logs
	// scrape is the port of the collector's Prometheus exporter.
	scrape int
	// folder has what the backends store.
	folder string
}

// startLogs starts VictoriaLogs, also once more.
func (s *system) startLogs() {
	s.t.Helper()
	s.logs.process = start(s.t, s.logs.base+"/health", "victoria-logs",
		"-httpListenAddr="+strings.TrimPrefix(s.logs.base, "http://"), "-storageDataPath="+filepath.Join(s.folder, "logs"))
}

// both are the backends that get metrics by OTLP.
func (s *system) both() []metrics { return []metrics{s.prometheus, s.victoria} }

// startSystem starts all of it, in the host's network namespace.
func startSystem(t *testing.T, receiver string) *system {
	t.Helper()
	ports := freePorts(t, 5)
	at := func(i int) string { return fmt.Sprintf("127.0.0.1:%d", ports[i]) }
	s := &system{
		t:          t,
		prometheus: metrics{"Prometheus", "http://" + at(0)},
		victoria:   metrics{"VictoriaMetrics", "http://" + at(1)},
		logs:       logs{base: "http://" + at(2)},
		scrape:     ports[3],
	}
	folder := t.TempDir()
	scrapes := filepath.Join(folder, "prometheus.yaml")
	require.NoError(t, os.WriteFile(scrapes, fmt.Appendf(nil, `
global: {scrape_interval: 1s}
scrape_configs:
  - job_name: ebpf_tcp
    honor_labels: true
    static_configs: [{targets: ["%s"], labels: {via: scrape}}]
  - job_name: collector
    static_configs: [{targets: ["%s"]}]
`, at(3), at(4)), 0o600))
	start(t, s.prometheus.base+"/-/ready", "prometheus", "--web.enable-otlp-receiver", "--config.file="+scrapes,
		"--web.listen-address="+at(0), "--storage.tsdb.path="+filepath.Join(folder, "prometheus"))
	start(t, s.victoria.base+"/health", "victoria-metrics", "-opentelemetry.usePrometheusNaming", "-search.latencyOffset=1s",
		"-httpListenAddr="+at(1), "-storageDataPath="+filepath.Join(folder, "victoria"))
	s.folder = folder
	s.startLogs()

	var err error
	s.collector, err = lab.StartCollector(t.Context(), lab.Launch{
		Program: os.Getenv(collectorVariable), Telemetry: ports[4],
		Configuration: fmt.Sprintf(configuration, receiver, s.prometheus.base, s.victoria.base, s.logs.base, at(3)),
	})
	require.NoError(t, err)
	t.Cleanup(func() {
		said, _ := s.collector.Said()
		assert.NoError(t, s.collector.Close())
		if t.Failed() {
			t.Logf("the collector said:\n%s", said)
		}
	})
	return s
}

// configuration of the collector. Backends in one process with it need no TLS.
const configuration = `
receivers:
  ebpf_tcp:
    collection_interval: 1s
    metric_expiration: 12s
%s
exporters:
  otlp_http/prometheus:
    endpoint: %s/api/v1/otlp
    sending_queue: {batch: {flush_timeout: 200ms}}
  otlp_http/victoria:
    endpoint: %s/opentelemetry
    sending_queue: {batch: {flush_timeout: 200ms}}
  otlp_http/logs:
    logs_endpoint: %s/insert/opentelemetry/v1/logs
    retry_on_failure: {initial_interval: 500ms}
    sending_queue: {batch: {flush_timeout: 200ms}}
  prometheus:
    endpoint: %s
    without_scope_info: true
    resource_constant_labels:
      included: [host.name, container.id, k8s.pod.uid]
service:
  pipelines:
    logs: {receivers: [ebpf_tcp], exporters: [otlp_http/logs]}
    metrics: {receivers: [ebpf_tcp], exporters: [otlp_http/prometheus, otlp_http/victoria, prometheus]}
`

// start runs a backend and waits until it is healthy.
func start(t *testing.T, health, name string, arguments ...string) *lab.Process {
	t.Helper()
	process, err := lab.Start(exec.Command(program(name), arguments...))
	require.NoError(t, err)
	t.Cleanup(func() {
		assert.NoError(t, process.Stop(syscall.SIGTERM))
		if t.Failed() {
			t.Logf("%s said:\n%s", name, process.Output())
		}
	})
	require.NoError(t, process.Wait(t.Context(), "healthy", func() (bool, error) {
		answer, err := client.Get(health)
		if err != nil {
			return false, nil
		}
		defer answer.Body.Close()
		return answer.StatusCode == http.StatusOK, nil
	}))
	return process
}
