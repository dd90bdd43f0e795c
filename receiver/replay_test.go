// SPDX-License-Identifier: Apache-2.0

//go:build linux && (amd64 || arm64)

package receiver

import (
	"encoding/binary"
	"unsafe"

	"github.com/ebpftcp/ebpftcpreceiver/internal/fact"
	"github.com/ebpftcp/ebpftcpreceiver/internal/owner"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/record"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/shared"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/sockets"
)

// replay is close records in memory in the place of a ring buffer.
type replay struct {
	decoder *sockets.Decoder
	records []shared.CloseRecord
	sample  []byte
	// ids counts the connections, so that each round brings new ones.
	ids uint64
}

// newReplay makes n records, each of another client, whose connections the given processes
// accepted. Their times are in the past, as those of a ring buffer are when it is read.
func newReplay(sink fact.Sink, n int, processes []owner.Key) (*replay, error) {
	context := &record.Context{Sink: sink, OwnNetNS: 1}
	r := &replay{
		decoder: sockets.NewDecoder(context, 0, nil),
		records: make([]shared.CloseRecord, n),
		sample:  make([]byte, 0, unsafe.Sizeof(shared.CloseRecord{})),
	}
	if err := context.Clock.Refresh(); err != nil {
		return nil, err
	}
	const lasted, apart = 12_345_678, 1000
	now := context.Clock.Boot()
	for i := range r.records {
		closed := now - uint64(n-i)*apart
		// In no order, as clients come.
		process := processes[i*7919%len(processes)]
		r.records[i] = shared.CloseRecord{
			Head: shared.RecordHead{Kind: uint32(shared.RecordKindClose), Netns: 1, Time: closed},
			Connection: shared.Connection{
				Opened:   closed - lasted,
				Accepted: closed - lasted + 40_000,
				Owner: shared.Owner{
					Process: shared.ProcessKey{Start: process.Start, Pid: process.PID},
					Source:  uint32(owner.ByAcceptor),
				},
				Flow:        replayedFlow(uint32(i)),
				Netns:       1,
				Ifindex:     1,
				HandshakeUs: 310,
			},
			Counters: shared.Counters{
				RxBytes: 73 + uint64(i%1000), TxBytes: 850 + uint64(i%100_000), RxSegments: 6, TxSegments: 5,
				SrttUs: 305 + uint32(i%1000), MinRttUs: 290,
			},
			Reason: uint32(shared.CloseReasonClientFin),
		}
	}
	return r, nil
}

func replayedFlow(client uint32) shared.Flow {
	mapped := func(a, b byte, c uint16) (address [16]uint8) {
		copy(address[10:], []byte{0xff, 0xff, a, b})
		binary.BigEndian.PutUint16(address[14:], c)
		return address
	}
	return shared.Flow{
		Local: mapped(192, 0, 0x0201), LocalPort: 443,
		Remote: mapped(198, 18+byte(client>>16&1), uint16(client)), RemotePort: 1024 + uint16(client*31%60000),
	}
}

// drain decodes all records once more, each copied as from a ring buffer.
func (r *replay) drain() {
	for i := range r.records {
		closed := &r.records[i]
		r.ids++
		closed.Connection.Id = r.ids
		raw := unsafe.Slice((*byte)(unsafe.Pointer(closed)), unsafe.Sizeof(*closed))
		r.sample = append(r.sample[:0], raw...)
		head := record.View[shared.RecordHead](r.sample)
		r.decoder.Decode(shared.RecordKind(head.Kind), r.sample)
	}
}
