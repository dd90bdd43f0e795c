// SPDX-License-Identifier: Apache-2.0

package exchange

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/assert"
	"golang.org/x/net/http2/hpack"

	"github.com/ebpftcp/ebpftcpreceiver/internal/http2/frame"
	"github.com/ebpftcp/ebpftcpreceiver/internal/stream"
)

const (
	upgradeRequest = "GET /one HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n"
	upgradeAnswer  = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n"
	settings       = "\x00\x00\x00\x04\x00\x00\x00\x00\x00"
)

// TestUpgradeToHTTP2: stream 1 answers the request that upgrades, wherever segments end.
func TestUpgradeToHTTP2(t *testing.T) {
	for _, size := range []int{0, 1, 7, 40, 100} {
		w := newWire(Options{})
		send := func(d stream.Direction, data string) {
			for len(data) > 0 {
				n := len(data)
				if size > 0 {
					n = min(n, size)
				}
				w.send(d, data[:n])
				data = data[n:]
			}
		}
		var asked, answered bytes.Buffer
		client, server := hpack.NewEncoder(&asked), hpack.NewEncoder(&answered)
		send(0, upgradeRequest)
		// The answer to stream 1 does not wait for the client's preface.
		send(1, upgradeAnswer+settings+frames(server, &answered, 1, "hello", ":status", "200", "x-id", "one"))
		send(0, frame.Preface+settings+frames(client, &asked, 3, "", ":method", "GET", ":path", "/two", ":scheme", "http"))
		send(1, frames(server, &answered, 3, "12345678", ":status", "404", "x-id", "two"))
		w.fin(0)
		w.fin(1)
		assert.Equal(t, []string{"GET /one 200 0/5", "GET /two 404 0/8"}, w.got, size)
		assert.Zero(t, w.table.Figures().Bytes)
		assert.Zero(t, w.table.Figures().Connections)
		assert.Zero(t, w.table.Figures().Gaps)
	}
}

// TestUpgradeWithABody: the body belongs to HTTP/1.
func TestUpgradeWithABody(t *testing.T) {
	w := newWire(Options{})
	var asked, answered bytes.Buffer
	w.send(0, "POST /up HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 4\r\n\r\nbody")
	w.send(1, upgradeAnswer)
	w.send(0, frame.Preface+settings)
	w.send(1, settings+frames(hpack.NewEncoder(&answered), &answered, 1, "", ":status", "204"))
	w.send(0, frames(hpack.NewEncoder(&asked), &asked, 3, "", ":method", "GET", ":path", "/two"))
	w.fin(0)
	w.fin(1)
	assert.Equal(t, []string{"POST /up 204 4/0", "GET /two 0 client_closed"}, w.got)
}

// TestUpgradeThatIsRefused, and one to another protocol.
func TestUpgradeThatIsRefused(t *testing.T) {
	w := newWire(Options{})
	w.send(0, upgradeRequest)
	w.send(1, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
	w.send(0, "GET /two HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	w.send(1, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
	w.fin(0)
	w.fin(1)
	assert.Equal(t, []string{"GET /one 200", "GET /two 101 switched"}, w.got)
}

// TestUpgradeWithoutAnswer: the connection ends before stream 1 does.
func TestUpgradeWithoutAnswer(t *testing.T) {
	w := newWire(Options{})
	w.send(0, upgradeRequest)
	w.send(1, upgradeAnswer)
	w.fin(1)
	w.fin(0)
	assert.Equal(t, []string{"GET /one 0 server_closed"}, w.got)
	assert.Zero(t, w.table.Figures().Bytes)
}

// TestUpgradeWithoutRoom counts the request that nobody follows.
func TestUpgradeWithoutRoom(t *testing.T) {
	lost := map[Loss]int{}
	options := Options{MaxBytes: 4000}
	options.Lost = func(reason Loss, n int) { lost[reason] += n }
	w := newWire(options)
	w.send(0, upgradeRequest)
	w.send(1, upgradeAnswer+settings)
	w.send(0, frame.Preface+settings)
	w.fin(0)
	w.fin(1)
	assert.Equal(t, map[Loss]int{LossBudget: 1}, lost)
	assert.Empty(t, w.got)
	assert.Zero(t, w.table.Figures().Bytes)
}

// TestUpgradeThatWasMissed: the client's frames are read from its preface on.
func TestUpgradeThatWasMissed(t *testing.T) {
	w := newWire(Options{})
	w.known, w.begins = false, false
	var asked, answered bytes.Buffer
	w.send(0, frame.Preface+settings+frames(hpack.NewEncoder(&asked), &asked, 3, "", ":method", "GET", ":path", "/two"))
	w.send(1, frames(hpack.NewEncoder(&answered), &answered, 3, "hello", ":status", "200"))
	w.fin(0)
	w.fin(1)
	assert.Equal(t, []string{"GET /two 200 0/5"}, w.got)
}
