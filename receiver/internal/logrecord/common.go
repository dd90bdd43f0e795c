// SPDX-License-Identifier: Apache-2.0

package logrecord

import (
	"strconv"

	"github.com/ebpftcp/ebpftcpreceiver/internal/clean"
	"github.com/ebpftcp/ebpftcpreceiver/internal/flow"
	"github.com/ebpftcp/ebpftcpreceiver/internal/owner"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/declared"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/logrecord/oneline"
)

// endpoints are the positions of the two addresses in a body.
type endpoints struct{ client, server oneline.Span }

// begin writes the beginning that all bodies share.
func (l *Logs) begin(event declared.Event, f *flow.Flow) ([]byte, endpoints) {
	var at endpoints
	line := append(append(l.line[:0], event.String()...), ' ')
	line, at.client = oneline.Endpoint(line, f.Client)
	line, at.server = oneline.Endpoint(append(line, " -> "...), f.Server)
	return line, at
}

func (l *Logs) appendProcess(line []byte, p *owner.Process) []byte {
	if p == nil || p.PID == 0 {
		return line
	}
	name := l.executable(p)
	if name == "" {
		name = "?"
	}
	line = append(append(append(line, ' '), name...), '[')
	return append(strconv.AppendUint(line, uint64(p.PID), 10), ']')
}

func putFlow(row *row, f *flow.Flow, at endpoints, body, name string) {
	if f.Client.IsValid() {
		row.str(declared.AttrClientAddress, at.client.Of(body))
		row.int(declared.AttrClientPort, int64(f.Client.Port()))
	}
	if f.Server.IsValid() {
		row.str(declared.AttrServerAddress, at.server.Of(body))
		row.int(declared.AttrServerPort, int64(f.Server.Port()))
		row.str(declared.AttrNetworkType, declared.NetworkType(f.IPv4()))
	}
	row.str(declared.AttrNetworkTransport, declared.TransportTCP)
	if name != "" {
		row.str(declared.AttrNetworkInterfaceName, clean.String(name))
	}
}

func (l *Logs) putOwner(row *row, p *owner.Process, source owner.Source) {
	if p == nil {
		return
	}
	// With attribution::process: false, only the container is known.
	if p.PID != 0 {
		row.int(declared.AttrProcessPID, int64(p.PID))
	}
	if name := l.executable(p); name != "" {
		row.str(declared.AttrProcessExecutableName, name)
	}
	if name := source.String(); name != "" {
		row.str(declared.AttrOwnerSource, name)
	}
}

func workload(p *owner.Process) *owner.Workload {
	if p == nil {
		return nil
	}
	return p.Workload
}

// executable returns the clean name. Most records belong to the same few workloads, and each
// workload is one pointer.
func (l *Logs) executable(p *owner.Process) string {
	switch p.Workload {
	case nil:
		return ""
	case l.lastWorkload:
	default:
		l.lastWorkload, l.lastExecutable = p.Workload, clean.String(p.Executable)
	}
	return l.lastExecutable
}

func seconds(nanoseconds int64) float64 { return float64(nanoseconds) / 1e9 }
