// SPDX-License-Identifier: Apache-2.0

//go:build linux && privileged && (amd64 || arm64)

package inspect

import (
	"bytes"
	"net/netip"
	"sync/atomic"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	h2 "golang.org/x/net/http2"

	"github.com/ebpftcp/ebpftcpreceiver/internal/flow"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/settings"
	"github.com/ebpftcp/ebpftcpreceiver/internal/stream"
	"github.com/ebpftcp/ebpftcpreceiver/internal/testbed/wire"
)

// talk is a connection of HTTP/2 whose segments are given to the programs, without sockets.
type talk struct {
	*rig
	client layers.TCPPort
	next   [stream.Directions]uint32
	// silent leaves what crosses in the ring.
	silent bool
}

// newTalk makes a connection, which begins with our SYN-ACK.
func (r *rig) newTalk(client int) *talk {
	r.t.Helper()
	k := &talk{rig: r, client: layers.TCPPort(client), next: [...]uint32{7000, 1<<32 - 100}}
	k.run(stream.ToClient, nil, func(tcp *layers.TCP) { tcp.SYN, tcp.PSH, tcp.Seq = true, false, tcp.Seq-1 })
	return k
}

// beginTalk makes a connection whose client has sent the preface.
func (r *rig) beginTalk(client int) *talk {
	r.t.Helper()
	k := r.newTalk(client)
	begun := k.send(stream.ToServer, []byte(h2.ClientPreface))
	require.Len(r.t, begun.segments, 1)
	require.True(r.t, begun.segments[0].Frames, "the preface begins what is followed")
	return k
}

// frame builds a segment of a direction, and names its program.
func (k *talk) frame(d stream.Direction, payload []byte, change ...func(*layers.TCP)) (frame []byte, program string) {
	k.t.Helper()
	ip, program := wire.IPv4(), "inspect_ingress_eth"
	if d == stream.ToClient {
		ip.SrcIP, ip.DstIP = ip.DstIP, ip.SrcIP
		program = "inspect_egress_eth"
	}
	tcp := wire.Segment(append([]func(*layers.TCP){func(tcp *layers.TCP) {
		tcp.SrcPort, tcp.DstPort, tcp.Seq, tcp.Ack = k.client, serverPort, k.next[d], k.next[d.Reverse()]
		if d == stream.ToClient {
			tcp.SrcPort, tcp.DstPort = serverPort, k.client
		}
	}}, change...)...)
	return wire.Build(k.t, wire.Ethernet(layers.EthernetTypeIPv4), ip, tcp, gopacket.Payload(payload)), program
}

// run gives a segment to the program of its direction, and returns what crossed.
func (k *talk) run(d stream.Direction, payload []byte, change ...func(*layers.TCP)) *seen {
	k.t.Helper()
	frame, program := k.frame(d, payload, change...)
	_, err := k.guest.objects.Programs[program].Run(&ebpf.RunOptions{Data: frame})
	require.NoError(k.t, err)
	if k.silent {
		return nil
	}
	return k.drain()
}

// send sends the next bytes of a direction.
func (k *talk) send(d stream.Direction, payload []byte) *seen {
	k.t.Helper()
	s := k.run(d, payload)
	k.next[d] += uint32(len(payload))
	return s
}

// flow is what user space calls it.
func (k *talk) flow() *flow.Flow {
	return &flow.Flow{
		Client: netip.AddrPortFrom(wire.Client4, uint16(k.client)), Server: netip.AddrPortFrom(wire.Server4, serverPort),
	}
}

// pings are so many of the smallest frames that programs send.
func pings(n int) []byte { return bytes.Repeat([]byte{0, 0, 0, 4, 1, 0, 0, 0, 0}, n) }

// frameHead is the head of a frame of stream 1.
func frameHead(kind h2.FrameType, length int, flags h2.Flags) []byte {
	return []byte{byte(length >> 16), byte(length >> 8), byte(length), byte(kind), byte(flags), 0, 0, 0, 1}
}

// isFollowed checks that a frame of DATA is passed over, and that what comes behind it crosses.
func (k *talk) isFollowed(d stream.Direction) {
	k.t.Helper()
	k.send(d, append(frameHead(h2.FrameData, 3000, 0), make([]byte, 1000)...))
	require.Zero(k.t, len(k.send(d, make([]byte, 1000)).segments), "DATA does not cross")
	rest := k.send(d, append(make([]byte, 1000), pings(1)...))
	require.Len(k.t, rest.segments, 1)
	assert.True(k.t, rest.segments[0].Frames)
	assert.EqualValues(k.t, 1000, rest.segments[0].Skipped)
	assert.Equal(k.t, pings(1), rest.segments[0].Data)
}

// TestInspectManyFrames: frames are followed, however many begin in a segment.
func TestInspectManyFrames(t *testing.T) {
	inNetNS(t)
	r := startRig(t, config())
	for _, n := range []int{1, 16, 17, 32, 33, 64, 65, 150} {
		k := r.beginTalk(30000 + n)
		for _, more := range []int{0, 3} { // with the begin of a head at the end
			all := append(pings(n), pings(1)[:more]...)
			crossed := k.send(stream.ToServer, all)
			require.Len(t, crossed.segments, 1)
			assert.Equal(t, all, crossed.segments[0].Data)
			if more > 0 {
				k.send(stream.ToServer, pings(1)[more:])
			}
			k.isFollowed(stream.ToServer)
		}
	}
}

// TestInspectFollowsAgain: after a hole, frames are followed once user space says where one
// begins, and only if the next segment goes on there.
func TestInspectFollowsAgain(t *testing.T) {
	inNetNS(t)
	r := startRig(t, config())
	k := r.beginTalk(30000)
	follow := func() { r.Follow(r.context.OwnNetNS, k.flow(), stream.ToServer, k.next[stream.ToServer]) }
	for _, hole := range []uint32{100, 1 << 20, 1 << 23} { // within each window, and beyond it
		k.next[stream.ToServer] += hole
		crossed := k.send(stream.ToServer, pings(1))
		require.Len(t, crossed.segments, 1, "what comes after a hole crosses")
		assert.False(t, crossed.segments[0].Frames)
		follow()
		k.next[stream.ToServer] += 9 // what user space has not read yet
		crossed = k.send(stream.ToServer, pings(1))
		require.Len(t, crossed.segments, 1)
		assert.False(t, crossed.segments[0].Frames)
		follow()
		k.isFollowed(stream.ToServer)
	}
}

// TestInspectOutOfOrder: after segments that change places, all crosses until user space says where a
// frame begins, however much that is, and frames are followed again.
func TestInspectOutOfOrder(t *testing.T) {
	inNetNS(t)
	r := startRig(t, config())
	for i, d := range []stream.Direction{stream.ToServer, stream.ToClient} {
		k := r.beginTalk(30000 + i)
		k.isFollowed(d)
		first := append(frameHead(h2.FrameData, 2000, 0), make([]byte, 1000)...)
		second := append(make([]byte, 1000), pings(1)...)
		k.next[d] += uint32(len(first))
		require.Equal(t, second, k.run(d, second).segments[0].Data)
		k.next[d] -= uint32(len(first))
		crossed := k.send(d, first).segments
		require.Len(t, crossed, 1)
		assert.Equal(t, first, crossed[0].Data)
		k.next[d] += uint32(len(second))
		for range 1500 { // 1.5 MB
			crossed = k.send(d, make([]byte, 1000)).segments
			require.Len(t, crossed, 1)
			require.False(t, crossed[0].Frames)
			require.Len(t, crossed[0].Data, 1000)
		}
		r.Follow(r.context.OwnNetNS, k.flow(), d, k.next[d])
		k.isFollowed(d)
	}
}

// TestInspectLostRecords: where a record found no room, frames are not followed, also if the next
// segment begins where one does. User space would take the hole for DATA.
func TestInspectLostRecords(t *testing.T) {
	inNetNS(t)
	r := startRig(t, config(func(c *settings.Config) { c.Inspect.RingBytes = 4096 }))
	k := r.beginTalk(30000)
	k.isFollowed(stream.ToServer)
	k.isFollowed(stream.ToClient)
	for _, d := range []stream.Direction{stream.ToClient, stream.ToServer} {
		figures, err := r.Figures()
		require.NoError(t, err)
		k.silent = true // so that the ring gets full
		for lost := figures.Lost; figures.Lost == lost; {
			k.send(d, pings(100))
			figures, err = r.Figures()
			require.NoError(t, err)
		}
		k.silent = false
		r.drain()
		for range 2 {
			next := k.send(d, pings(1))
			require.Len(t, next.segments, 1)
			assert.False(t, next.segments[0].Frames, "%d", d)
		}
	}
}

// TestInspectServerSpeaksFirst: frames of both directions are followed.
func TestInspectServerSpeaksFirst(t *testing.T) {
	inNetNS(t)
	r := startRig(t, config())
	settings := []byte{0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0x40, 0}
	k := r.newTalk(30000)
	first := k.send(stream.ToClient, settings)
	require.Len(t, first.segments, 1)
	assert.True(t, first.segments[0].Frames && first.segments[0].Begins)
	assert.Equal(t, k.next[stream.ToServer], first.segments[0].First)
	k.isFollowed(stream.ToClient)
	require.True(t, k.send(stream.ToServer, []byte(h2.ClientPreface)).segments[0].Begins)
	k.isFollowed(stream.ToServer)
	k.isFollowed(stream.ToClient)

	k = r.newTalk(30001)
	require.False(t, k.send(stream.ToClient, append(settings[:4:4], "220 mail"...)).segments[0].Frames)
}

// TestInspectBothSpeakAtOnce: whichever record comes first says where the connection begins, while
// both sides' first segments pass on two CPUs.
func TestInspectBothSpeakAtOnce(t *testing.T) {
	inNetNS(t)
	r := startRig(t, config())
	const rounds = 3000
	greetings := [stream.Directions][]byte{
		stream.ToServer: append([]byte(h2.ClientPreface), pings(20)...),
		stream.ToClient: {0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0x40, 0},
	}
	var begun atomic.Int64
	var frames [stream.Directions]chan []byte
	done := make(chan error, stream.Directions)
	for d := range frames {
		frames[d] = make(chan []byte)
		go func() {
			for round := int64(1); ; round++ {
				frame, more := <-frames[d]
				if !more {
					return
				}
				for begun.Add(1); begun.Load() < 2*round; { // until the other one is ready
				}
				for range round % 64 * int64(d) {
					begun.Load()
				}
				program := []string{"inspect_ingress_eth", "inspect_egress_eth"}[d]
				_, err := r.guest.objects.Programs[program].Run(&ebpf.RunOptions{Data: frame})
				done <- err
			}
		}()
		defer close(frames[d])
	}
	first := [stream.Directions]int{}
	for round := range rounds {
		k := r.newTalk(20000 + round)
		var built [stream.Directions][]byte
		for d := range built {
			built[d], _ = k.frame(stream.Direction(d), greetings[d])
		}
		for d := range built {
			frames[d] <- built[d]
		}
		for range built {
			require.NoError(t, <-done)
		}
		segments := k.drain().segments
		require.Len(t, segments, 2)
		require.True(t, segments[0].Begins, "%v", segments[0])
		require.Equal(t, k.next[stream.ToServer], segments[0].First, "%v", segments[0])
		first[segments[0].Direction]++
		r.Forget(r.context.OwnNetNS, k.flow())
	}
	t.Logf("the client was first %d times, the server %d times", first[stream.ToServer], first[stream.ToClient])
}

// TestInspectServerSpeaksMeanwhile: the client's first segment has moved its number, and its record
// is not there yet.
func TestInspectServerSpeaksMeanwhile(t *testing.T) {
	inNetNS(t)
	r := startRig(t, config())
	k := r.newTalk(30000)
	words, _, _ := r.words.entry(r.context.OwnNetNS, k.flow())
	require.NotNil(t, words)
	words[stream.ToServer] = words[stream.ToServer]&^numberMask | wordFrames | uint64(k.next[stream.ToServer]+24)
	said := k.send(stream.ToClient, []byte{0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0x40, 0})
	require.Len(t, said.segments, 1)
	assert.True(t, said.segments[0].Begins && said.segments[0].Frames)
	assert.Equal(t, k.next[stream.ToServer], said.segments[0].First)
}

// TestInspectFirstMessage: of the first DATA of an answer, the head crosses, also where nothing
// else of its segment is wanted.
func TestInspectFirstMessage(t *testing.T) {
	inNetNS(t)
	r := startRig(t, config())
	k := r.beginTalk(30000)
	data := append(frameHead(h2.FrameData, 1000, 0), make([]byte, 1000)...)
	answer := append(frameHead(h2.FrameHeaders, 2, h2.FlagHeadersEndHeaders), 0x88, 0x88)
	require.Zero(t, len(k.send(stream.ToClient, data).segments), "no answer has begun")
	for range 2 { // two answers begin before their DATA
		require.Len(t, k.send(stream.ToClient, answer).segments, 1)
	}
	for range 2 {
		crossed := k.send(stream.ToClient, data).segments
		require.Len(t, crossed, 1)
		assert.True(t, crossed[0].Frames)
		assert.Equal(t, data[:9], crossed[0].Data)
		assert.EqualValues(t, 1000, crossed[0].Left)
	}
	require.Zero(t, len(k.send(stream.ToClient, data).segments), "no answer waits for it")
	both := k.send(stream.ToClient, append(append(answer[:len(answer):len(answer)], data...), answer...)).segments
	require.Len(t, both, 1)
	assert.Zero(t, both[0].Left)
	assert.Len(t, k.send(stream.ToClient, append(data[:len(data):len(data)], data...)).segments, 1)
	k.isFollowed(stream.ToClient)
}
