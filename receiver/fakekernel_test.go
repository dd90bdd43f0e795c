// SPDX-License-Identifier: Apache-2.0

package receiver

import (
	"errors"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/assert"
	"go.uber.org/zap"

	"github.com/ebpftcp/ebpftcpreceiver/internal/connection"
	"github.com/ebpftcp/ebpftcpreceiver/internal/fact"
	"github.com/ebpftcp/ebpftcpreceiver/internal/flow"
	"github.com/ebpftcp/ebpftcpreceiver/internal/ledger"
	"github.com/ebpftcp/ebpftcpreceiver/internal/owner"
	"github.com/ebpftcp/ebpftcpreceiver/internal/packet"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe"
)

// fakeKernel stands in for the kernel side. Tests make connections on it; Drain hands
// the facts over, and the account is kept as the kernel keeps it.
type fakeKernel struct {
	t   testing.TB
	cfg probe.Config

	busy atomic.Bool
	// wake tells Drain that something waits.
	wake chan struct{}

	mu      sync.Mutex
	handler fact.Sink
	pending []func(fact.Sink)
	// known are handed over by Start.
	known      []func(fact.Sink)
	live       map[uint64]connection.Live
	account    ledger.Kernel
	ports      []connection.PortCounter
	queues     []connection.Queues
	interfaces []packet.Interface
	hooks      []probe.HookState
	nextID     uint64

	startErr, drainErr, snapshotErr error
	// partErr ends a look at the live connections after the first one.
	partErr          error
	snapshots        int
	detached, closed bool
	// detaching runs while the programs are taken off.
	detaching func()
}

func newFakeKernel(t testing.TB) *fakeKernel {
	return &fakeKernel{
		t:    t,
		wake: make(chan struct{}, 1),
		live: make(map[uint64]connection.Live),
		hooks: []probe.HookState{
			{Feature: probe.FeatureConnection, Name: "tp_btf/inet_sock_set_state", Gives: "connections", Attached: true},
			{Feature: probe.FeaturePacket, Name: "tcx/ingress", Gives: "packets", Attached: true},
		},
	}
}

// enter checks that the receiver uses the kernel side from one goroutine at a time.
func (k *fakeKernel) enter() func() {
	assert.True(k.t, k.busy.CompareAndSwap(false, true), "two calls at one time")
	k.mu.Lock()
	assert.False(k.t, k.closed, "used after Close")
	k.mu.Unlock()
	return func() { k.busy.Store(false) }
}

func (k *fakeKernel) Start(h fact.Sink) error {
	defer k.enter()()
	k.mu.Lock()
	defer k.mu.Unlock()
	k.handler = h
	if k.startErr != nil {
		return k.startErr
	}
	for _, fact := range k.known {
		fact(h)
	}
	return nil
}

func (k *fakeKernel) Drain(until time.Time) error {
	defer k.enter()()
	timer := time.NewTimer(time.Until(until))
	defer timer.Stop()
	for {
		k.mu.Lock()
		pending, err := k.pending, k.drainErr
		k.pending = nil
		k.mu.Unlock()
		for _, fact := range pending {
			fact(k.handler)
		}
		if err != nil || len(pending) > 0 {
			return err // as when the ring buffer is filling
		}
		select {
		case <-k.wake:
		case <-timer.C:
			return nil
		}
	}
}

func (k *fakeKernel) Snapshot(visit func(*connection.Live)) (*probe.Snapshot, error) {
	defer k.enter()()
	k.mu.Lock()
	defer k.mu.Unlock()
	k.snapshots++
	if k.snapshotErr != nil {
		return nil, k.snapshotErr
	}
	for _, live := range k.live {
		visit(&live)
		if k.partErr != nil {
			break
		}
	}
	account := k.account
	ports := append([]connection.PortCounter(nil), k.ports...)
	if account.Opened > 0 {
		ports = append(ports, connection.PortCounter{
			NetNS: 7, Port: testServer.Port(), IPv4: true, What: connection.Opens, Value: uint64(account.Opened),
		})
	}
	account.Active = int64(len(k.live))
	return &probe.Snapshot{
		Time:       time.Now().UnixNano(),
		Ledger:     account,
		Ports:      ports,
		Queues:     append([]connection.Queues(nil), k.queues...),
		Interfaces: append([]packet.Interface(nil), k.interfaces...),
		Maps:       []probe.MapFill{{Name: "connections", Entries: len(k.live), Capacity: 64}},
		Hooks:      k.hooks,
	}, k.partErr
}

// OwnNetNS is the namespace of everything that tests do not place elsewhere.
func (k *fakeKernel) OwnNetNS() uint32 { return 7 }

func (k *fakeKernel) Hooks() []probe.HookState { return k.hooks }

func (k *fakeKernel) MapBytes() (uint64, error) { return 36 << 20, nil }

func (k *fakeKernel) Detach() error {
	defer k.enter()()
	if k.detaching != nil {
		k.detaching()
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.detached = true
	return nil
}

func (k *fakeKernel) Close() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed {
		return errors.New("closed twice")
	}
	k.closed = true
	return nil
}

func (k *fakeKernel) isClosed() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.closed
}

// produce hands facts to the next Drain.
func (k *fakeKernel) produce(facts ...func(fact.Sink)) {
	k.mu.Lock()
	k.pending = append(k.pending, facts...)
	k.mu.Unlock()
	select {
	case k.wake <- struct{}{}:
	default:
	}
}

var (
	testServer = netip.MustParseAddrPort("192.0.2.1:80")
	testClient = netip.MustParseAddrPort("198.51.100.7:40000")
)

// open makes a live connection and returns it.
func (k *fakeKernel) open() connection.Connection {
	k.mu.Lock()
	k.nextID++
	c := connection.Connection{
		ID:     k.nextID,
		Flow:   flow.Flow{Client: testClient, Server: testServer},
		NetNS:  7,
		Opened: time.Now().UnixNano(),
	}
	k.live[c.ID] = connection.Live{Connection: c}
	k.account.Opened++
	wanted := k.cfg.OpenRecords
	if wanted {
		k.account.Produced[ledger.Open]++
	}
	k.mu.Unlock()
	if wanted {
		k.produce(func(h fact.Sink) { h.ConnectionOpened(&connection.Opened{Connection: c}) })
	}
	return c
}

// transfer sets the counters of a live connection.
func (k *fakeKernel) transfer(c connection.Connection, received, transmitted uint64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	live := k.live[c.ID]
	live.ReceivedBytes, live.TransmittedBytes = received, transmitted
	k.live[c.ID] = live
}

// close ends a connection.
func (k *fakeKernel) close(c connection.Connection) {
	k.mu.Lock()
	live := k.live[c.ID]
	delete(k.live, c.ID)
	k.mu.Unlock()
	closed := &connection.Closed{
		Connection: c, Counters: connection.Counters{
			ReceivedBytes: live.ReceivedBytes, TransmittedBytes: live.TransmittedBytes,
		},
		Time: time.Now().UnixNano(), Reason: connection.CloseClientFIN,
	}
	k.produce(func(h fact.Sink) { h.ConnectionClosed(closed) })
}

// requests opens and closes n connections.
func (k *fakeKernel) requests(n int) {
	for range n {
		k.close(k.open())
	}
}

// fail makes n attempts that fail; without FailedRecords nothing is told of them.
func (k *fakeKernel) fail(n int) {
	if !k.cfg.FailedRecords {
		return
	}
	k.mu.Lock()
	k.account.Produced[ledger.Failed] += int64(n)
	k.mu.Unlock()
	for range n {
		k.produce(func(h fact.Sink) {
			h.ConnectionFailed(&connection.Failed{
				Flow: flow.Flow{Client: testClient, Server: testServer},
				Time: time.Now().UnixNano(), Type: connection.FailureRefused,
			})
		})
	}
}

func (k *fakeKernel) packets(n int) {
	k.mu.Lock()
	k.account.Produced[ledger.Packet] += int64(n)
	k.mu.Unlock()
	for range n {
		k.produce(func(h fact.Sink) {
			h.PacketSelected(&packet.Packet{
				Flow: flow.Flow{Client: testClient, Server: testServer},
				Time: time.Now().UnixNano(), Flags: 2, Options: []byte{2, 4, 5, 0xb4},
			})
		})
	}
}

// look sets what the next snapshots tell of listeners' queues.
func (k *fakeKernel) look(queues ...connection.Queues) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.queues = queues
}

// listen makes nginx listen on the test server's address.
func (k *fakeKernel) listen() (owner.Key, []func(fact.Sink)) {
	key := owner.Key{Start: 1, PID: 4242}
	return key, []func(fact.Sink){
		func(h fact.Sink) { h.ProcessSeen(&owner.Sighting{Key: key, Executable: "nginx", Comm: "nginx"}) },
		func(h fact.Sink) {
			h.ListenerOpened(&connection.Listener{
				Socket: 1, NetNS: 7, Address: testServer,
				Owner: owner.Ref{Key: key, Source: owner.ByHolder},
			})
		},
	}
}

// fakeEnvironment makes receivers with fake kernels, and remembers these.
type fakeEnvironment struct {
	t       testing.TB
	prepare func(*fakeKernel)

	mu      sync.Mutex
	kernels []*fakeKernel
}

func (e *fakeEnvironment) environment() environment {
	return environment{
		newKernel: func(cfg probe.Config, _ *zap.Logger) (kernel, error) {
			k := newFakeKernel(e.t)
			k.cfg = cfg
			if e.prepare != nil {
				e.prepare(k)
			}
			e.mu.Lock()
			defer e.mu.Unlock()
			e.kernels = append(e.kernels, k)
			return k, nil
		},
		root:      fstest.MapFS{},
		flushTime: defaultFlushTime,
	}
}

// last is the latest kernel.
func (e *fakeEnvironment) last() *fakeKernel {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.kernels[len(e.kernels)-1]
}

func (e *fakeEnvironment) count() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.kernels)
}
