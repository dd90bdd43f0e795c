// SPDX-License-Identifier: Apache-2.0

// Package kerneltest has a kernel side for tests. Tests make connections on it, and it counts
// them as the kernel does.
package kerneltest

import (
	"errors"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/ebpftcp/ebpftcpreceiver/internal/connection"
	"github.com/ebpftcp/ebpftcpreceiver/internal/fact"
	"github.com/ebpftcp/ebpftcpreceiver/internal/flow"
	"github.com/ebpftcp/ebpftcpreceiver/internal/ledger"
	"github.com/ebpftcp/ebpftcpreceiver/internal/owner"
	"github.com/ebpftcp/ebpftcpreceiver/internal/packet"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe"
)

// Kernel replaces the kernel side in tests. Drain hands over the facts that tests produce. Lock
// it to use the exported fields once it has started.
type Kernel struct {
	t testing.TB
	// Config is the configuration that the receiver asked for.
	Config probe.Config

	busy atomic.Bool
	// wake tells Drain that something waits.
	wake chan struct{}

	sync.Mutex
	handler fact.Sink
	pending []func(fact.Sink)
	// Known are handed over by Start.
	Known      []func(fact.Sink)
	Live       map[uint64]connection.Live
	Ledger     ledger.Kernel
	Ports      []connection.PortCounter
	Queues     []connection.Queues
	Interfaces []packet.Interface
	HookStates []probe.HookState
	Sources    probe.SourceFigures
	nextID     uint64

	// StartErr, DrainErr and SnapshotErr are what these calls return.
	StartErr, DrainErr, SnapshotErr error
	// PartErr ends a pass over the live connections after the first one.
	PartErr error
	// Snapshots counts the calls.
	Snapshots        int
	detached, closed bool
	// Detaching runs while the programs are detached.
	Detaching func()
}

// New makes a kernel side whose hooks are attached.
func New(t testing.TB) *Kernel {
	return &Kernel{
		t:    t,
		wake: make(chan struct{}, 1),
		Live: make(map[uint64]connection.Live),
		HookStates: []probe.HookState{
			{Feature: probe.FeatureConnection, Name: "tp_btf/inet_sock_set_state", Gives: "connections", Attached: true},
			{Feature: probe.FeaturePacket, Name: "tcx/ingress", Gives: "packets", Attached: true},
		},
	}
}

// enter checks that the receiver uses the kernel side from one goroutine at a time.
func (k *Kernel) enter() func() {
	assert.True(k.t, k.busy.CompareAndSwap(false, true), "two calls at one time")
	k.Lock()
	assert.False(k.t, k.closed, "used after Close")
	k.Unlock()
	return func() { k.busy.Store(false) }
}

// Start implements pipeline.Kernel.
func (k *Kernel) Start(h fact.Sink) error {
	defer k.enter()()
	k.Lock()
	defer k.Unlock()
	k.handler = h
	if k.StartErr != nil {
		return k.StartErr
	}
	for _, fact := range k.Known {
		fact(h)
	}
	return nil
}

// Drain implements pipeline.Kernel.
func (k *Kernel) Drain(until time.Time) error {
	defer k.enter()()
	timer := time.NewTimer(time.Until(until))
	defer timer.Stop()
	for {
		k.Lock()
		pending, err := k.pending, k.DrainErr
		k.pending = nil
		k.Unlock()
		for _, fact := range pending {
			fact(k.handler)
		}
		if err != nil || len(pending) > 0 {
			return err // as if the ring buffer were filling
		}
		select {
		case <-k.wake:
		case <-timer.C:
			return nil
		}
	}
}

// Snapshot implements pipeline.Kernel.
func (k *Kernel) Snapshot(visit func(*connection.Live)) (*probe.Snapshot, error) {
	defer k.enter()()
	k.Lock()
	defer k.Unlock()
	k.Snapshots++
	if k.SnapshotErr != nil {
		return nil, k.SnapshotErr
	}
	for _, live := range k.Live {
		visit(&live)
		if k.PartErr != nil {
			break
		}
	}
	totals := k.Ledger
	ports := append([]connection.PortCounter(nil), k.Ports...)
	if totals.Opened > 0 {
		ports = append(ports, connection.PortCounter{
			NetNS: NetNS, Port: Server.Port(), IPv4: true, What: connection.Opens, Value: uint64(totals.Opened),
		})
	}
	totals.Active = int64(len(k.Live))
	sources := k.Sources
	return &probe.Snapshot{
		Time:       time.Now().UnixNano(),
		Sources:    &sources,
		Ledger:     totals,
		Ports:      ports,
		Queues:     append([]connection.Queues(nil), k.Queues...),
		Interfaces: append([]packet.Interface(nil), k.Interfaces...),
		Maps:       []probe.MapFill{{Name: "connections", Entries: len(k.Live), Capacity: 64}},
		Hooks:      k.HookStates,
	}, k.PartErr
}

// NetNS is the namespace of everything that tests do not place elsewhere.
const NetNS = 7

// OwnNetNS implements pipeline.Kernel.
func (k *Kernel) OwnNetNS() uint32 { return NetNS }

// Hooks implements pipeline.Kernel.
func (k *Kernel) Hooks() []probe.HookState { return k.HookStates }

// MapBytes implements pipeline.Kernel.
func (k *Kernel) MapBytes() (uint64, error) { return 36 << 20, nil }

// Detach implements pipeline.Kernel.
func (k *Kernel) Detach() error {
	defer k.enter()()
	if k.Detaching != nil {
		k.Detaching()
	}
	k.Lock()
	defer k.Unlock()
	k.detached = true
	return nil
}

// Close implements pipeline.Kernel.
func (k *Kernel) Close() error {
	k.Lock()
	defer k.Unlock()
	if k.closed {
		return errors.New("closed twice")
	}
	k.closed = true
	return nil
}

// IsDetached tells whether Detach was called.
func (k *Kernel) IsDetached() bool {
	k.Lock()
	defer k.Unlock()
	return k.detached
}

// IsClosed tells whether Close was called.
func (k *Kernel) IsClosed() bool {
	k.Lock()
	defer k.Unlock()
	return k.closed
}

// Produce hands facts to the next Drain.
func (k *Kernel) Produce(facts ...func(fact.Sink)) {
	k.Lock()
	k.pending = append(k.pending, facts...)
	k.Unlock()
	select {
	case k.wake <- struct{}{}:
	default:
	}
}

// Server listens on the host, and Client is the other end of each connection.
var (
	Server = netip.MustParseAddrPort("192.0.2.1:80")
	Client = netip.MustParseAddrPort("198.51.100.7:40000")
)

// Open makes a live connection and returns it.
func (k *Kernel) Open() connection.Connection {
	k.Lock()
	k.nextID++
	c := connection.Connection{
		ID:     k.nextID,
		Flow:   flow.Flow{Client: Client, Server: Server},
		NetNS:  NetNS,
		Opened: time.Now().UnixNano(),
	}
	k.Live[c.ID] = connection.Live{Connection: c}
	k.Ledger.Opened++
	wanted := k.Config.OpenRecords
	if wanted {
		k.Ledger.Produced[ledger.Open]++
	}
	k.Unlock()
	if wanted {
		k.Produce(func(h fact.Sink) { h.ConnectionOpened(&connection.Opened{Connection: c}) })
	}
	return c
}

// Transfer sets the counters of a live connection.
func (k *Kernel) Transfer(c connection.Connection, received, transmitted uint64) {
	k.Lock()
	defer k.Unlock()
	live := k.Live[c.ID]
	live.ReceivedBytes, live.TransmittedBytes = received, transmitted
	k.Live[c.ID] = live
}

// End ends a connection.
func (k *Kernel) End(c connection.Connection) {
	k.Lock()
	live := k.Live[c.ID]
	delete(k.Live, c.ID)
	k.Unlock()
	closed := &connection.Closed{
		Connection: c, Counters: connection.Counters{
			ReceivedBytes: live.ReceivedBytes, TransmittedBytes: live.TransmittedBytes,
		},
		Time: time.Now().UnixNano(), Reason: connection.CloseClientFIN,
	}
	k.Produce(func(h fact.Sink) { h.ConnectionClosed(closed) })
}

// Requests opens and closes n connections.
func (k *Kernel) Requests(n int) {
	for range n {
		k.End(k.Open())
	}
}

// Fail makes n attempts that fail, if records of them are wanted.
func (k *Kernel) Fail(n int) {
	if !k.Config.FailedRecords {
		return
	}
	k.Lock()
	k.Ledger.Produced[ledger.Failed] += int64(n)
	k.Unlock()
	for range n {
		k.Produce(func(h fact.Sink) {
			h.ConnectionFailed(&connection.Failed{
				Flow: flow.Flow{Client: Client, Server: Server},
				Time: time.Now().UnixNano(), Type: connection.FailureRefused,
			})
		})
	}
}

// Packets selects n packets.
func (k *Kernel) Packets(n int) {
	k.Lock()
	k.Ledger.Produced[ledger.Packet] += int64(n)
	k.Unlock()
	for range n {
		k.Produce(func(h fact.Sink) {
			h.PacketSelected(&packet.Packet{
				Flow: flow.Flow{Client: Client, Server: Server},
				Time: time.Now().UnixNano(), Flags: 2, Options: []byte{2, 4, 5, 0xb4},
			})
		})
	}
}

// Look sets the queues of the next snapshots.
func (k *Kernel) Look(queues ...connection.Queues) {
	k.Lock()
	defer k.Unlock()
	k.Queues = queues
}

// Listen returns the facts of nginx, which listens on Server, and its key.
func (k *Kernel) Listen() (owner.Key, []func(fact.Sink)) {
	key := owner.Key{Start: 1, PID: 4242}
	return key, []func(fact.Sink){
		func(h fact.Sink) { h.ProcessSeen(&owner.Sighting{Key: key, Executable: "nginx", Comm: "nginx"}) },
		func(h fact.Sink) {
			h.ListenerOpened(&connection.Listener{
				Socket: 1, NetNS: NetNS, Address: Server,
				Owner: owner.Ref{Key: key, Source: owner.ByHolder},
			})
		},
	}
}
