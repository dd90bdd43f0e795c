// SPDX-License-Identifier: Apache-2.0

//go:build linux && (amd64 || arm64)

package probe

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/record"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/shared"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/sockets"
)

func TestUndecodableRecordsAreCounted(t *testing.T) {
	for name, sample := range map[string][]byte{
		"empty":             {},
		"shorter than head": {1, 0, 0},
		"unknown kind":      {255, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0},
		"close cut short":   {byte(shared.RecordKindClose), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			r := &recorder{}
			p := &Probe{context: record.Context{Sink: r}}
			p.sockets = &sockets.Vantage{Decoder: sockets.NewDecoder(&p.context, 0, nil)}
			p.packetDecoder.Context = &p.context
			p.decode(sample)
			assert.Equal(t, []string{"connection: drain undecodable (1)"}, r.lost)
		})
	}
}
