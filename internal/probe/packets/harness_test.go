// SPDX-License-Identifier: Apache-2.0

//go:build linux && privileged && (amd64 || arm64)

package packets

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/ringbuf"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest"

	"github.com/ebpftcp/ebpftcpreceiver/internal/connection"
	"github.com/ebpftcp/ebpftcpreceiver/internal/fact"
	"github.com/ebpftcp/ebpftcpreceiver/internal/ledger"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/hook"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/netns"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/record"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/settings"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/shared"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/tc"
	"github.com/ebpftcp/ebpftcpreceiver/internal/testbed"
	"github.com/ebpftcp/ebpftcpreceiver/internal/testbed/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	testNetNS = 4026531840
	// TEST_RUN lets packets come in by loopback.
	loopbackIndex = 1
)

// here is this host, of which attaching is in question.
type here struct{}

// Lacks tries a mode, by name.
func (here) Lacks(m string) (reason string, err error) {
	err = testbed.InNewNetNS(func() error {
		cfg := config(mode(settings.TCMode(m)), func(c *settings.Config) { c.IncludeInterfaces = []string{"lo"} })
		maps, err := shared.NewMaps(&cfg)
		if err != nil {
			return err
		}
		defer maps.Close()
		ports, err := shared.NewPortTable()
		if err != nil {
			return err
		}
		defer ports.Close()
		trial := Try(&Options{
			Config: &cfg, Managers: tc.NewTrial(), Maps: maps.Maps, OwnNetNS: testNetNS, OwnPorts: ports,
			Shares: shared.NewShares(maps.Maps, shared.CapacitiesOf(&cfg), testNetNS), Logger: zap.NewNop(),
		})
		reason = trial.Way(hook.FeaturePacket).Error
		return trial.Close()
	})
	return reason, err
}

func needMode(t testing.TB, m settings.TCMode) {
	t.Helper()
	if m != settings.TCOff {
		testbed.Need(t, here{}, string(m))
	}
}

// modes runs a test on TCX and on clsact.
func modes(t *testing.T, test func(*testing.T, settings.TCMode)) {
	for _, m := range []settings.TCMode{settings.TCX, settings.TCClsact} {
		t.Run(string(m), func(t *testing.T) {
			needMode(t, m)
			test(t, m)
		})
	}
}

// tables stands in for who follows listeners.
type tables struct {
	t        testing.TB
	selected *[settings.Ports]uint8

	mu      sync.Mutex
	byNetNS map[uint32]*ebpf.Map
	// syns is nil unless SYNs are counted.
	syns *ebpf.Map
}

func newTables(t testing.TB, cfg *settings.Config) *tables {
	p := &tables{t: t, byNetNS: make(map[uint32]*ebpf.Map)}
	if cfg.ByPort() {
		p.selected = cfg.SelectedPorts()
	}
	if cfg.Sources.Services {
		var err error
		p.syns, err = shared.NewPortSYNs()
		require.NoError(t, err)
		t.Cleanup(func() { assert.NoError(t, p.syns.Close()) })
	}
	t.Cleanup(func() {
		for _, table := range p.byNetNS {
			assert.NoError(t, table.Close())
		}
	})
	return p
}

// SYNs has the same counters in all namespaces.
func (p *tables) SYNs(uint32) *ebpf.Map { return p.syns }

// Enter gives a table with a listener on the server's port.
func (p *tables) Enter(netns uint32) (*ebpf.Map, error) {
	table, err := shared.NewPortTable()
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.byNetNS[netns] = table
	return table, p.mark(table, wire.ServerPort, true)
}

func (p *tables) Leave(netns uint32) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	table := p.byNetNS[netns]
	if table == nil {
		return nil
	}
	delete(p.byNetNS, netns)
	return table.Close()
}

func (p *tables) mark(table *ebpf.Map, port uint16, on bool) error {
	if p.selected != nil && p.selected[port] == 0 {
		return nil
	}
	if on && p.syns != nil {
		return shared.PlacePort(table, uint32(port), shared.PortPlaceFirst)
	}
	return shared.MarkPort(table, uint32(port), on)
}

func (p *tables) number() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.byNetNS)
}

// failures notes attempts that failed in the namespace of the test, and what was lost.
type failures struct {
	fact.Nop
	failed []connection.Failed
	lost   map[ledger.Cause]int
}

func (f *failures) ConnectionFailed(failed *connection.Failed) {
	if failed.NetNS == testNetNS {
		f.failed = append(f.failed, *failed)
	}
}

func (f *failures) FactsLost(_ ledger.Event, cause ledger.Cause, n int) {
	if f.lost == nil {
		f.lost = make(map[ledger.Cause]int)
	}
	f.lost[cause] += n
}

// config selects every packet; change edits it.
func config(change ...func(*settings.Config)) settings.Config {
	cfg := settings.Config{
		Failures: settings.Failures{
			HandshakeTimeout: time.Second,
			FailedRecords:    true,
			FailedPerSecond:  1000,
		},
		Packets: settings.Packets{
			TCMode:           settings.TCAuto,
			PacketSampleRate: 1,
			PacketsPerSecond: 1 << 30,
		},
		Limits: settings.Limits{
			MaxListeners:    16384,
			MaxHalfOpen:     16384,
			MaxPortCounters: 8192,
			MaxConnections:  16,
			RingBytes:       1 << 20,
		},
		ExcludeHooks: testbed.ExcludedHooks(),
	}
	for _, f := range change {
		f(&cfg)
	}
	return cfg
}

// optionsFor makes the shared maps and a port table for a namespace.
func optionsFor(t testing.TB, cfg *settings.Config, inode uint32) (*Options, *tables) {
	t.Helper()
	maps, err := shared.NewMaps(cfg)
	require.NoError(t, err)
	t.Cleanup(maps.Close)
	ports := newTables(t, cfg)
	own, err := ports.Enter(inode)
	require.NoError(t, err)
	return &Options{
		Config: cfg, Managers: tc.NewRegistry(), Maps: maps.Maps, OwnNetNS: inode, OwnPorts: own, Tables: ports,
		Shares: shared.NewShares(maps.Maps, shared.CapacitiesOf(cfg), inode), Logger: zaptest.NewLogger(t),
	}, ports
}

// live is the vantage point in the test's namespace and those of its configuration, with a
// listener on the server's port everywhere.
type live struct {
	*Vantage
	t      *testing.T
	tables *tables
}

func startLive(t *testing.T, cfg settings.Config) *live {
	t.Helper()
	inode, err := netns.Current()
	require.NoError(t, err)
	options, tables := optionsFor(t, &cfg, inode)
	l := &live{Vantage: New(options), t: t, tables: tables}
	t.Cleanup(func() { require.NoError(t, l.Close()) })
	require.NoError(t, l.Start())
	return l
}

// bench holds programs that are loaded but attached nowhere, with a listener on the
// server's port.
type bench struct {
	*namespace
	t      testing.TB
	maps   map[string]*ebpf.Map
	tables *tables
	reader *ringbuf.Reader
}

func newBench(t testing.TB, cfg settings.Config, change ...func(*Options)) *bench {
	t.Helper()
	options, tables := optionsFor(t, &cfg, testNetNS)
	for _, f := range change {
		f(options)
	}
	b := &bench{namespace: newNamespace(options, testNetNS, options.OwnPorts, options.Logger), t: t, maps: options.Maps, tables: tables}
	require.NoError(t, b.load())
	_, err := b.program(tc.Ingress, tc.HeadersNone)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, b.close()) })
	b.reader, err = ringbuf.NewReader(b.maps["records"])
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, b.reader.Close()) })
	slot, err := b.counts.assign(loopbackIndex)
	require.NoError(t, err)
	b.interfaces[loopbackIndex] = &counted{name: "test", slot: slot}
	return b
}

func (b *bench) listen(port uint16, on bool) {
	b.t.Helper()
	require.NoError(b.t, b.tables.mark(b.ports, port, on))
}

func (b *bench) looksAtAddresses() bool {
	b.t.Helper()
	var further uint32
	require.NoError(b.t, b.objects.Variables["look_further"].Get(&further))
	return further&uint32(shared.LookFurtherAtAddress) != 0
}

// run puts one frame through a program.
func (b *bench) run(program string, frame []byte, context ...skbContext) {
	b.t.Helper()
	options := ebpf.RunOptions{Data: frame}
	if len(context) > 0 {
		options.Context = context[0][:]
	}
	verdict, err := b.objects.Programs[program].Run(&options)
	require.NoError(b.t, err)
	require.Equal(b.t, ^uint32(0), verdict, "the program must not decide about the packet")
}

// skbContext is a struct __sk_buff of linux/bpf.h.
type skbContext [192]byte

func gsoContext(segments, size uint32) (c skbContext) {
	binary.NativeEndian.PutUint32(c[164:], segments)
	binary.NativeEndian.PutUint32(c[176:], size)
	return c
}

// recordOf reads the next record, nil if there is none. Records are in the ring when
// the program has run.
func recordOf[T any](b *bench) *T {
	b.t.Helper()
	b.reader.SetDeadline(time.Now().Add(-time.Second))
	require.NoError(b.t, b.reader.Flush())
	raw, err := b.reader.Read()
	if errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, ringbuf.ErrFlushed) {
		return nil
	}
	require.NoError(b.t, err)
	typed := record.View[T](raw.RawSample)
	require.NotNil(b.t, typed)
	return typed
}

func (b *bench) packet() *shared.PacketRecord {
	b.t.Helper()
	return recordOf[shared.PacketRecord](b)
}

func (b *bench) failed() *shared.FailedRecord {
	b.t.Helper()
	return recordOf[shared.FailedRecord](b)
}

// totals are those of the test's interface.
func (b *bench) totals(d tc.Direction) shared.InterfaceCounters {
	b.t.Helper()
	totals, err := b.counts.read(b.interfaces[loopbackIndex].slot)
	require.NoError(b.t, err)
	return totals[d]
}

func (b *bench) ledger() shared.Ledger {
	b.t.Helper()
	counted, err := shared.ReadLedger(b.maps["ledger"])
	require.NoError(b.t, err)
	return counted
}

func (b *bench) portCount(port uint16, family uint8, failure connection.Failure) (n uint64) {
	b.t.Helper()
	key := shared.PortCounterKey{Netns: testNetNS, Detail: uint32(failure), Port: port, Family: family, Count: uint8(shared.PortCountFailed)}
	var perCPU []uint64
	err := b.maps["port_counters"].Lookup(&key, &perCPU)
	if errors.Is(err, ebpf.ErrKeyNotExist) {
		return 0
	}
	require.NoError(b.t, err)
	for _, one := range perCPU {
		n += one
	}
	return n
}

func flow4() shared.Flow {
	return shared.Flow{
		Local: wire.Server4.As16(), Remote: wire.Client4.As16(),
		LocalPort: wire.ServerPort, RemotePort: wire.ClientPort,
	}
}

func flow6() shared.Flow {
	return shared.Flow{
		Local: wire.Server6.As16(), Remote: wire.Client6.As16(),
		LocalPort: wire.ServerPort, RemotePort: wire.ClientPort,
	}
}

// mapped is the IPv4-mapped form of an address.
func mapped(address netip.Addr) netip.Addr { return netip.AddrFrom16(address.As16()) }
