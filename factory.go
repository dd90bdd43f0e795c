// SPDX-License-Identifier: Apache-2.0

// Package ebpftcpreceiver is an OpenTelemetry Collector receiver for the inbound TCP
// connections of a Linux host. It is the receiver package under the module's own
// path, so that a builder manifest needs nothing else.
package ebpftcpreceiver

import (
	rcvr "go.opentelemetry.io/collector/receiver"

	"github.com/ebpftcp/ebpftcpreceiver/receiver"
)

// NewFactory creates the factory of the ebpf_tcp receiver.
func NewFactory() rcvr.Factory { return receiver.NewFactory() }
