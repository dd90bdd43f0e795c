// SPDX-License-Identifier: Apache-2.0

//go:build linux

package replay

import (
	"fmt"
	"net/netip"
	"strings"
)

// Talk writes a capture of connections, for tests that bring their own.
type Talk struct {
	Server netip.AddrPort
	Rows   []Row
	all    []Segment
}

// Line is a connection of a talk.
type Line struct {
	talk     *Talk
	client   netip.AddrPort
	seq, ack uint32
}

// Open begins a connection from a port.
func (k *Talk) Open(port uint16) *Line {
	l := &Line{talk: k, client: netip.AddrPortFrom(netip.MustParseAddr("198.51.100.7"), port), seq: 0xffffff00 + uint32(port), ack: uint32(port) << 16}
	k.all = append(k.all,
		Segment{From: l.client, To: k.Server, Seq: l.seq, SYN: true},
		Segment{From: k.Server, To: l.client, Seq: l.ack, Ack: l.seq + 1, SYN: true, ACK: true})
	l.seq, l.ack = l.seq+1, l.ack+1
	return l
}

// Ask sends bytes to the server.
func (l *Line) Ask(data string) {
	l.talk.all = append(l.talk.all, Segment{From: l.client, To: l.talk.Server, Seq: l.seq, Ack: l.ack, ACK: true, Payload: []byte(data)})
	l.seq += uint32(len(data))
}

// Answer sends bytes to the client.
func (l *Line) Answer(data string) {
	l.talk.all = append(l.talk.all, Segment{From: l.talk.Server, To: l.client, Seq: l.ack, Ack: l.seq, ACK: true, Payload: []byte(data)})
	l.ack += uint32(len(data))
}

// Close ends the connection, the client first.
func (l *Line) Close() {
	l.talk.all = append(l.talk.all,
		Segment{From: l.client, To: l.talk.Server, Seq: l.seq, Ack: l.ack, ACK: true, FIN: true},
		Segment{From: l.talk.Server, To: l.client, Seq: l.ack, Ack: l.seq + 1, ACK: true, FIN: true})
}

// Row says which request is to be seen.
func (l *Line) Row(method, uri string, status int) {
	l.talk.Rows = append(l.talk.Rows, Row{
		Client: l.client, Server: l.talk.Server, Method: method, Host: "example.com", URI: uri, Status: status,
	})
}

// Segments of the talk.
func (k *Talk) Segments() []Segment { return k.all }

// Example is a talk with what is hard about HTTP/1.
func Example() *Talk {
	k := &Talk{Server: netip.MustParseAddrPort("192.0.2.1:8080")}
	const host, large = " HTTP/1.1\r\nHost: example.com\r\n", 40_000
	l := k.Open(40001)
	for id := range 3 {
		l.Ask(fmt.Sprintf("GET /%d%s\r\n", id, host))
		l.Answer(fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", large))
		for range large / 1000 {
			l.Answer(strings.Repeat("HTTP/1.1 500 ", 77)[:1000])
		}
		l.Row("GET", fmt.Sprintf("/%d", id), 200)
	}
	l.Ask("POST /form" + host + "Expect: 100-continue\r\nContent-Length: 3000\r\n\r\n")
	l.Answer("HTTP/1.1 100 Continue\r\n\r\n")
	l.Ask(strings.Repeat("GET /no HTTP/1.1\r\n\r\n", 150))
	l.Answer("HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n0\r\nTrailer: 1\r\n\r\n")
	l.Row("POST", "/form", 201)
	l.Close()

	l = k.Open(40002) // pipelined
	asked, answered := "", ""
	for id := range 16 {
		asked += fmt.Sprintf("\r\nGET /pipelined/%d%s\r\n", id, host)
		answered += fmt.Sprintf("HTTP/1.1 %d\r\nContent-Length: %d\r\n\r\n%s", 200+id, id, "HTTP/1.1 999 no!"[:id])
		l.Row("GET", fmt.Sprintf("/pipelined/%d", id), 200+id)
	}
	l.Ask(asked)
	l.Answer(strings.Replace(answered, "HTTP/1.1 204\r\nContent-Length: 4\r\n\r\nHTTP", "HTTP/1.1 204\r\n\r\n", 1))
	l.Ask("HEAD /head" + host + "\r\n")
	l.Answer("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
	l.Row("HEAD", "/head", 200)
	l.Ask("GET /close" + strings.ReplaceAll(host, "\r", "") + "\n")
	l.Answer("HTTP/1.0 404 Not Found\n\nuntil the end")
	l.Row("GET", "/close", 404)
	l.Close()

	l = k.Open(40003)
	l.Ask("GET /socket" + host + "Connection: upgrade\r\nUpgrade: websocket\r\n\r\n")
	l.Answer("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n")
	l.Ask("GET /no HTTP/1.1\r\n\r\n")
	l.Answer("HTTP/1.1 200 OK\r\n\r\n")
	l.Row("GET", "/socket", 101)
	l.Close()
	return k
}
