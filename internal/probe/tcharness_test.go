// SPDX-License-Identifier: Apache-2.0

//go:build linux && privileged && (amd64 || arm64)

package probe

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/ringbuf"
	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap/zaptest"

	"github.com/ebpftcp/ebpftcpreceiver/internal/connection"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/listening"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/record"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/settings"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/shared"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/tc"
	"github.com/ebpftcp/ebpftcpreceiver/internal/testbed"
)

const (
	tcServerPort = 8080
	tcClientPort = 40000
	tcTestNetNS  = 4026531840
	// TEST_RUN lets packets come in by loopback.
	loopbackIndex = 1
)

var (
	tcServer4 = netip.MustParseAddr("192.0.2.1")
	tcClient4 = netip.MustParseAddr("198.51.100.7")
	tcServer6 = netip.MustParseAddr("2001:db8::1")
	tcClient6 = netip.MustParseAddr("2001:db8:ffff::7")
)

// tcBench holds programs that are loaded but attached nowhere, with a listener on
// tcServerPort.
type tcBench struct {
	*tcVantage
	t      testing.TB
	maps   map[string]*ebpf.Map
	ports  *listening.Ports
	reader *ringbuf.Reader
}

// tcConfig selects every packet; change edits it.
func tcConfig(change ...func(*Config)) Config {
	cfg := Config{
		Failures: Failures{
			HandshakeTimeout: time.Second,
			FailedRecords:    true,
			FailedPerSecond:  1000,
		},
		Packets: Packets{
			TCMode:           TCAuto,
			PacketSampleRate: 1,
			PacketsPerSecond: 1 << 30,
		},
		Limits: Limits{
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

func newTCBench(t testing.TB, cfg Config, options ...func(*tcOptions)) *tcBench {
	t.Helper()
	all, err := shared.NewMaps(&cfg)
	require.NoError(t, err)
	t.Cleanup(all.Close)
	var selected *[settings.Ports]uint8
	if cfg.ByPort() {
		selected = cfg.SelectedPorts()
	}
	ports := listening.NewPorts(all.Maps, selected)
	t.Cleanup(func() { require.NoError(t, ports.Close()) })
	table, err := ports.Enter(tcTestNetNS)
	require.NoError(t, err)
	o := tcOptions{managers: tc.NewRegistry(), maps: all.Maps, shares: shared.NewShares(all.Maps, shared.CapacitiesOf(&cfg), tcTestNetNS), netns: tcTestNetNS, ownNetNS: tcTestNetNS, ports: table}
	for _, option := range options {
		option(&o)
	}
	b := &tcBench{tcVantage: newTCVantage(&cfg, o, zaptest.NewLogger(t)), t: t, maps: o.maps, ports: ports}
	require.NoError(t, b.load())
	_, err = b.program(tc.Ingress, tc.HeadersNone)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, b.close()) })
	b.reader, err = ringbuf.NewReader(b.maps["records"])
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, b.reader.Close()) })
	slot, err := b.counts.assign(loopbackIndex)
	require.NoError(t, err)
	b.interfaces[loopbackIndex] = &tcInterface{name: "test", slot: slot}
	b.listen(tcServerPort, true)
	return b
}

func (b *tcBench) listen(port uint16, on bool) {
	b.t.Helper()
	key := shared.PortKey{Netns: tcTestNetNS, Port: uint32(port)}
	if on {
		require.NoError(b.t, b.maps["listening_ports"].Put(&key, uint32(1)))
	} else {
		require.NoError(b.t, b.maps["listening_ports"].Delete(&key))
	}
	if b.cfg.SelectedPorts()[port] != 0 {
		require.NoError(b.t, shared.MarkPort(b.options.ports, key.Port, on))
	}
}

func (b *tcBench) looksAtAddresses() bool {
	b.t.Helper()
	var further uint32
	require.NoError(b.t, b.objects.Variables["look_further"].Get(&further))
	return further&uint32(shared.LookFurtherAtAddress) != 0
}

// run puts one frame through a program.
func (b *tcBench) run(program string, frame []byte, context ...skbContext) {
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

// record reads the next record, nil if there is none. Records are in the ring when
// the program has run.
func tcRecord[T any](b *tcBench) *T {
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

func (b *tcBench) packet() *shared.PacketRecord {
	b.t.Helper()
	return tcRecord[shared.PacketRecord](b)
}

func (b *tcBench) failed() *shared.FailedRecord {
	b.t.Helper()
	return tcRecord[shared.FailedRecord](b)
}

// totals are those of the test's interface.
func (b *tcBench) totals(d tc.Direction) shared.InterfaceCounters {
	b.t.Helper()
	totals, err := b.counts.read(b.interfaces[loopbackIndex].slot)
	require.NoError(b.t, err)
	return totals[d]
}

func (b *tcBench) ledger() shared.Ledger {
	b.t.Helper()
	counted, err := shared.ReadLedger(b.maps["ledger"])
	require.NoError(b.t, err)
	return counted
}

func (b *tcBench) portCount(port uint16, family uint8, failure connection.Failure) (n uint64) {
	b.t.Helper()
	key := shared.PortCounterKey{Netns: tcTestNetNS, Detail: uint32(failure), Port: port, Family: family, Count: uint8(shared.PortCountFailed)}
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

// -- frames ---------------------------------------------------------------------

func ethernet(kind layers.EthernetType) *layers.Ethernet {
	return &layers.Ethernet{SrcMAC: make([]byte, 6), DstMAC: make([]byte, 6), EthernetType: kind}
}

func vlan(id uint16, kind layers.EthernetType) *layers.Dot1Q {
	return &layers.Dot1Q{VLANIdentifier: id, Type: kind}
}

func ipv4(change ...func(*layers.IPv4)) *layers.IPv4 {
	ip := &layers.IPv4{
		Version: 4, TTL: 64, Protocol: layers.IPProtocolTCP,
		SrcIP: tcClient4.AsSlice(), DstIP: tcServer4.AsSlice(),
	}
	for _, f := range change {
		f(ip)
	}
	return ip
}

func ipv6(next layers.IPProtocol) *layers.IPv6 {
	return &layers.IPv6{
		Version: 6, HopLimit: 64, NextHeader: next,
		SrcIP: tcClient6.AsSlice(), DstIP: tcServer6.AsSlice(),
	}
}

// segment is inbound data by default.
func tcpSegment(change ...func(*layers.TCP)) *layers.TCP {
	tcp := &layers.TCP{
		SrcPort: tcClientPort, DstPort: tcServerPort,
		Seq: 0x01020304, Ack: 0x05060708, Window: 0x1234, ACK: true,
	}
	for _, f := range change {
		f(tcp)
	}
	return tcp
}

func onlySYN(tcp *layers.TCP) { tcp.SYN, tcp.ACK, tcp.Ack = true, false, 0 }

// build serializes layers with right lengths and checksums.
func build(t testing.TB, stack ...gopacket.SerializableLayer) []byte {
	t.Helper()
	var network gopacket.NetworkLayer
	for _, layer := range stack {
		switch l := layer.(type) {
		case *layers.IPv4:
			network = l
		case *layers.IPv6:
			network = l
		case *layers.TCP:
			if network != nil {
				require.NoError(t, l.SetNetworkLayerForChecksum(network))
			}
		}
	}
	buffer := gopacket.NewSerializeBuffer()
	options := gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}
	require.NoError(t, gopacket.SerializeLayers(buffer, options, stack...))
	return buffer.Bytes()
}

func payload(n int) gopacket.Payload { return make([]byte, n) }

// ordinary is an Ethernet frame with 100 bytes of inbound data.
func ordinary(t testing.TB, change ...func(*layers.TCP)) []byte {
	t.Helper()
	return build(t, ethernet(layers.EthernetTypeIPv4), ipv4(), tcpSegment(change...), payload(100))
}

func flow4() shared.Flow {
	return shared.Flow{
		Local: tcServer4.As16(), Remote: tcClient4.As16(),
		LocalPort: tcServerPort, RemotePort: tcClientPort,
	}
}

func flow6() shared.Flow {
	return shared.Flow{
		Local: tcServer6.As16(), Remote: tcClient6.As16(),
		LocalPort: tcServerPort, RemotePort: tcClientPort,
	}
}

// mapped is the IPv4-mapped form of an address.
func mapped(address netip.Addr) netip.Addr { return netip.AddrFrom16(address.As16()) }
