// SPDX-License-Identifier: Apache-2.0

package tls

import (
	"encoding/json"
	"errors"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ebpftcp/ebpftcpreceiver/internal/stream"
)

// side is one direction of a connection in a capture.
type side struct{ from, to netip.AddrPort }

// bytesOf reads what each side of each connection sent, in order.
func bytesOf(t *testing.T, capture string) map[side][]byte {
	file, err := os.Open(capture)
	require.NoError(t, err)
	defer file.Close()
	source, err := packetsOf(file)
	require.NoError(t, err)
	pool := stream.NewPool(64 << 20)
	halves, sent := map[side]*stream.Half{}, map[side][]byte{}
	for {
		data, _, err := source.ReadPacketData()
		if errors.Is(err, io.EOF) {
			return sent
		}
		require.NoError(t, err)
		packet := gopacket.NewPacket(data, layers.LayerTypeEthernet, gopacket.NoCopy)
		tcp, ok := packet.TransportLayer().(*layers.TCP)
		if !ok || packet.NetworkLayer() == nil {
			continue
		}
		from, _ := netip.AddrFromSlice(packet.NetworkLayer().NetworkFlow().Src().Raw())
		to, _ := netip.AddrFromSlice(packet.NetworkLayer().NetworkFlow().Dst().Raw())
		s := side{netip.AddrPortFrom(from, uint16(tcp.SrcPort)), netip.AddrPortFrom(to, uint16(tcp.DstPort))}
		h := halves[s]
		if tcp.SYN || h == nil {
			h, sent[s] = &stream.Half{}, nil
			halves[s] = h
			h.Start(tcp.Seq)
			if tcp.SYN {
				h.Start(tcp.Seq + 1)
			}
		}
		take := func(c stream.Chunk) {
			sent[s] = append(sent[s], c.Data...)
			h.Next = c.End()
		}
		next, ok, _ := h.Push(pool, &stream.Chunk{Sequence: tcp.Seq, Data: tcp.Payload})
		if !ok {
			continue
		}
		for take(next); ; take(next) {
			if next, ok = h.Pop(pool); !ok {
				break
			}
		}
	}
}

func packetsOf(file *os.File) (gopacket.PacketDataSource, error) {
	if filepath.Ext(file.Name()) == ".pcapng" {
		return pcapgo.NewNgReader(file, pcapgo.DefaultNgReaderOptions)
	}
	return pcapgo.NewReader(file)
}

// messageOf returns the first message of a type in the records of a stream.
func messageOf(sent []byte, kind uint8) []byte {
	var messages []byte
	for {
		h, ok := ParseHeader(sent)
		if !ok || h.Type != RecordHandshake || len(sent) < HeaderSize+h.Length {
			break
		}
		messages = append(messages, sent[HeaderSize:HeaderSize+h.Length]...)
		sent = sent[HeaderSize+h.Length:]
	}
	for len(messages) >= MessageHeaderSize {
		n := int(messages[1])<<16 | int(messages[2])<<8 | int(messages[3])
		if len(messages) < MessageHeaderSize+n {
			break
		}
		if messages[0] == kind {
			return messages[MessageHeaderSize : MessageHeaderSize+n]
		}
		messages = messages[MessageHeaderSize+n:]
	}
	return nil
}

// captures is where the sample captures are.
func captures(t *testing.T) string {
	folder := os.Getenv("EBPF_TCP_PCAPS")
	if folder == "" {
		t.Log("EBPF_TCP_PCAPS unset: no captures are read")
		return ""
	}
	return filepath.Join(folder, "tls")
}

func readJSON(t *testing.T, file string, to any) {
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(text, to))
}

// TestJA4OfCaptures compares with what FoxIO's own program says of the same captures.
func TestJA4OfCaptures(t *testing.T) {
	folder := captures(t)
	if folder == "" {
		return
	}
	files, err := filepath.Glob(filepath.Join(folder, "*.ja4.json"))
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		base := file[:len(file)-len(".ja4.json")]
		found, err := filepath.Glob(base + ".pcap*")
		require.NoError(t, err)
		require.Len(t, found, 1)
		sent := bytesOf(t, found[0])
		var wants []struct {
			Src, Dst, Srcport, Dstport, Domain string
			JA4                                string `json:"JA4.1"`
		}
		readJSON(t, file, &wants)
		require.NotEmpty(t, wants)
		hellos := 0
		for _, b := range sent {
			if messageOf(b, MessageClientHello) != nil {
				hellos++
			}
		}
		assert.Len(t, wants, hellos, base)
		for _, want := range wants {
			var h Hello
			var f Fingerprints
			s := side{address(t, want.Src, want.Srcport), address(t, want.Dst, want.Dstport)}
			require.True(t, ParseHello(messageOf(sent[s], MessageClientHello), &h), "%v", s)
			assert.Equal(t, want.JA4, string(f.AppendJA4(nil, &h)), "%v", s)
			assert.Equal(t, want.Domain, string(h.Name), "%v", s)
		}
	}
}

func address(t *testing.T, host, port string) netip.AddrPort {
	n, err := strconv.ParseUint(port, 10, 16)
	require.NoError(t, err)
	a, err := netip.ParseAddr(host)
	require.NoError(t, err)
	return netip.AddrPortFrom(a, uint16(n))
}

// TestJA3OfCapture compares with what Arkime says of a draft of TLS 1.3.
func TestJA3OfCapture(t *testing.T) {
	folder := captures(t)
	if folder == "" {
		return
	}
	var wants struct {
		Sessions []struct {
			Body struct {
				Source, Destination struct {
					IP   string
					Port uint16
				}
				HTTP struct{ Host []string }
				TLS  struct{ Cipher, JA3, JA4 []string }
			}
		} `json:"sessions3"`
	}
	readJSON(t, filepath.Join(folder, "tls13.arkime.json"), &wants)
	require.NotEmpty(t, wants.Sessions)
	sent := bytesOf(t, filepath.Join(folder, "tls13.pcap"))
	for _, one := range wants.Sessions {
		want := &one.Body
		client := netip.AddrPortFrom(netip.MustParseAddr(want.Source.IP), want.Source.Port)
		server := netip.AddrPortFrom(netip.MustParseAddr(want.Destination.IP), want.Destination.Port)
		var h Hello
		var f Fingerprints
		require.True(t, ParseHello(messageOf(sent[side{client, server}], MessageClientHello), &h))
		assert.Equal(t, want.TLS.JA3, []string{string(f.AppendJA3(nil, &h))})
		assert.Equal(t, want.TLS.JA4, []string{string(f.AppendJA4(nil, &h))})
		assert.Equal(t, want.HTTP.Host, []string{string(h.Name)})
		assert.Equal(t, []string{"h2", "http/1.1"}, offered(&h))
	}
}
