// SPDX-License-Identifier: Apache-2.0

package logrecord

import (
	"go.opentelemetry.io/collector/pdata/pcommon"

	"github.com/ebpftcp/ebpftcpreceiver/internal/owner"
	"github.com/ebpftcp/ebpftcpreceiver/internal/packet"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/declared"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/logrecord/oneline"
)

// Packet appends a record of a selected packet and reports whether it did. The
// process may be nil.
func (l *Logs) Packet(p *packet.Packet, process *owner.Process, source owner.Source) bool {
	if !l.enabled[declared.EventPacket] {
		return false
	}
	malformed := p.Malformed.String()
	record, ok := l.add(l.resources.Origin(workload(process), p.NetNS), header{
		event: declared.EventPacket, time: p.Time, failed: malformed != "",
	})
	if !ok {
		return false
	}
	flags := p.Flags.Names()
	line, at := l.begin(declared.EventPacket, &p.Flow)
	body := l.body(record, appendPacket(line, p, flags, malformed))

	row := &l.row
	putFlow(row, &p.Flow, at, body, p.Interface)
	l.putOwner(row, process, source)
	row.str(declared.AttrNetworkIODirection, declared.IODirection(p.Egress))
	row.int(declared.AttrNetNSInode, int64(p.NetNS))
	row.int(declared.AttrSequence, int64(p.Sequence))
	row.int(declared.AttrAcknowledgment, int64(p.Acknowledgment))
	row.int(declared.AttrWindow, int64(p.Window))
	row.int(declared.AttrPacketSize, int64(p.Length))
	row.int(declared.AttrPacketPayloadSize, int64(p.Payload))
	if malformed != "" {
		row.str(declared.AttrMalformedKind, malformed)
	}
	record.Attributes().EnsureCapacity(l.row.len() + 2) // what follows has room
	attributes := l.finish(record)
	names := attributes.PutEmptySlice(declared.AttrFlags.Key())
	names.EnsureCapacity(len(flags))
	l.bytes += attributeBytes * (2 + len(flags))
	for _, name := range flags {
		names.AppendEmpty().SetStr(name)
	}
	l.putOptions(attributes, p.Options)
	return true
}

func (l *Logs) putOptions(attributes pcommon.Map, raw []byte) {
	if len(raw) == 0 {
		return
	}
	options := attributes.PutEmptySlice(declared.AttrOptions.Key())
	for option := range packet.Options(raw) {
		written := option.AppendText(l.line[:0])
		options.AppendEmpty().SetStr(l.text.add(written))
		l.bytes += len(written) + attributeBytes
	}
}

func appendPacket(line []byte, p *packet.Packet, flags []string, malformed string) []byte {
	line = append(append(line, ' '), declared.IODirection(p.Egress)...)
	for i, name := range flags {
		separator := byte('|')
		if i == 0 {
			separator = ' '
		}
		line = append(append(line, separator), name...)
	}
	line = oneline.Bytes(line, "payload", uint64(p.Payload))
	if malformed != "" {
		line = append(append(line, " malformed="...), malformed...)
	}
	return line
}
