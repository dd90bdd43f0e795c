// SPDX-License-Identifier: Apache-2.0

//go:generate go tool -modfile=../../internal/tools/go.mod mdatagen metadata.yaml
//go:generate rm -rf internal/metadata/generated_metrics.go internal/metadata/generated_metrics_test.go internal/metadata/generated_config.go internal/metadata/generated_config_test.go internal/metadata/testdata
//go:generate rm -f internal/metadata/generated_logs.go internal/metadata/generated_logs_test.go
//go:generate go tool -modfile=../../internal/tools/go.mod gofumpt -w generated_component_test.go generated_package_test.go
//go:generate go run -C ../../internal/tools ./configdoc ../../connector/threats/config.schema.yaml ../../docs/threats.md ebpf_tcp_threats

// Package threats is the ebpf_tcp_threats connector of the OpenTelemetry Collector. It judges the
// log records of the ebpf_tcp receiver, and says who attacks which service, how sure that is and
// why. It needs no kernel, and runs beside the receiver or in a gateway that sees many hosts.
package threats
