// SPDX-License-Identifier: Apache-2.0

//go:generate go tool -modfile=../../internal/tools/go.mod mdatagen metadata.yaml
//go:generate go tool -modfile=../../internal/tools/go.mod gofumpt -w generated_component_test.go generated_package_test.go
//go:generate go run -C ../../internal/tools ./configdoc ../../exporter/view/config.schema.yaml ../../docs/view.md ebpf_tcp_view

// Package view is the ebpf_tcp_view exporter of the OpenTelemetry Collector. It serves a page that
// shows services, clients, failures, requests and findings while they happen. It needs no kernel
// and no backend, and knows nothing but the names of events and metrics. So it also works behind
// processors that add or hide something, and on a gateway for many hosts.
package view
