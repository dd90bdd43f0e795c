// SPDX-License-Identifier: Apache-2.0

package fact

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/ebpftcp/ebpftcpreceiver/internal/connection"
	"github.com/ebpftcp/ebpftcpreceiver/internal/ledger"
	"github.com/ebpftcp/ebpftcpreceiver/internal/owner"
	"github.com/ebpftcp/ebpftcpreceiver/internal/packet"
	"github.com/ebpftcp/ebpftcpreceiver/internal/request"
	"github.com/ebpftcp/ebpftcpreceiver/internal/source"
	"github.com/ebpftcp/ebpftcpreceiver/internal/tls"
)

// journal notes each call.
type journal struct{ calls []string }

func (j *journal) note(call string, arguments ...any) {
	j.calls = append(j.calls, call+" "+fmt.Sprint(arguments...))
}

func (j *journal) ProcessSeen(s *owner.Sighting)                   { j.note("seen", s.Comm) }
func (j *journal) ListenerOpened(l *connection.Listener)           { j.note("listener", l.Socket) }
func (j *journal) ListenerClosed(socket, overflows uint64)         { j.note("unlisten", socket, overflows) }
func (j *journal) ConnectionOpened(c *connection.Opened)           { j.note("opened", c.ID) }
func (j *journal) ConnectionClosed(c *connection.Closed)           { j.note("closed", c.ID) }
func (j *journal) ConnectionFailed(f *connection.Failed)           { j.note("failed", f.Type) }
func (j *journal) PacketSelected(p *packet.Packet)                 { j.note("packet", p.Length) }
func (j *journal) RequestSeen(e *request.Exchange)                 { j.note("request", e.Status) }
func (j *journal) RequestUnderWay(e *request.Exchange)             { j.note("under way", e.Status) }
func (j *journal) HandshakeSeen(h *tls.Handshake)                  { j.note("handshake", h.Version) }
func (j *journal) SourceSeen(s *source.Source)                     { j.note("source", s.Rest) }
func (j *journal) ServiceSeen(s *source.Service)                   { j.note("service", s.Socket) }
func (j *journal) NamespaceSeen(n *source.Namespace)               { j.note("namespace", n.NetNS) }
func (j *journal) SegmentsUsed(n int)                              { j.note("segments", n) }
func (j *journal) FactsLost(e ledger.Event, c ledger.Cause, n int) { j.note("lost", e, c, n) }

// reportOneEach reports one fact of each kind.
func reportOneEach(to Sink) {
	to.ProcessSeen(&owner.Sighting{Comm: "nginx"})
	to.ListenerOpened(&connection.Listener{Socket: 1})
	to.ListenerClosed(1, 2)
	to.ConnectionOpened(&connection.Opened{Connection: connection.Connection{ID: 3}})
	to.ConnectionClosed(&connection.Closed{Connection: connection.Connection{ID: 3}})
	to.ConnectionFailed(&connection.Failed{Type: connection.FailureReset})
	to.PacketSelected(&packet.Packet{Length: 40})
	to.RequestSeen(&request.Exchange{Status: 200})
	to.RequestUnderWay(&request.Exchange{Status: 7})
	to.HandshakeSeen(&tls.Handshake{Version: tls.Version13})
	to.SourceSeen(&source.Source{Rest: 4})
	to.ServiceSeen(&source.Service{Socket: 8})
	to.NamespaceSeen(&source.Namespace{NetNS: 9})
	to.SegmentsUsed(3)
	to.FactsLost(ledger.Failed, ledger.MapFull, 5)
}

func TestTee(t *testing.T) {
	var first, second journal
	reportOneEach(Tee{&first, Nop{}, &second})
	assert.Len(t, first.calls, 15)
	assert.Equal(t, first.calls, second.calls)
	reportOneEach(Tee{}) // nobody listens
}

// listeners wants one kind of fact.
type listeners struct {
	Nop
	sockets []uint64
}

func (l *listeners) ListenerOpened(opened *connection.Listener) {
	l.sockets = append(l.sockets, opened.Socket)
}

func TestNop(t *testing.T) {
	var l listeners
	reportOneEach(&l)
	assert.Equal(t, []uint64{1}, l.sockets)
}
