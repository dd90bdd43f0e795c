// SPDX-License-Identifier: Apache-2.0

package forwarded

import (
	"net/netip"

	"github.com/ebpftcp/ebpftcpreceiver/internal/request"
)

// Source says where the client's address is from.
type Source uint8

// Sources.
const (
	// Socket is the connection's own peer.
	Socket Source = iota
	ProxyProtocol
	XForwardedFor
	Forwarded
	XRealIP
)

// Fault says what a trusted proxy's header fields lack.
type Fault uint8

// Faults. The client is then the nearest hop that is known for sure.
const (
	None Fault = iota
	// Malformed is a field that could not be parsed, or that names too many hops.
	Malformed
	// Contradicting are Forwarded and X-Forwarded-For that name different clients.
	// X-Forwarded-For counts: many proxies extend it, and pass Forwarded on unseen.
	Contradicting
	// Hidden is a hop that its proxy called "unknown", or gave a made-up name.
	Hidden
	Faults
)

func (f Fault) String() string {
	switch f {
	case Malformed:
		return "forwarded_malformed"
	case Contradicting:
		return "forwarded_contradicting"
	case Hidden:
		return "forwarded_hidden"
	default:
		return ""
	}
}

// Client is who sent a request, behind trusted proxies.
type Client struct {
	Address netip.Addr
	// Port is 0 if unknown.
	Port   uint16
	Source Source
	// Scheme is "http" or "https" as the client used it, also for WebSocket; "" if no
	// trusted proxy said so.
	Scheme string
	Fault  Fault
}

// maxHops bounds the elements of a list that are read, from its right end.
const maxHops = 64

// Find returns the client of a request. peer is the socket's. proxied is what a PROXY
// protocol header names, if it is valid. The walk begins at the socket and continues while
// each hop is trusted: over the PROXY protocol, then from the right end of the lists.
func (t *Trust) Find(peer, proxied netip.AddrPort, fields []request.Field) Client {
	client := Client{Address: peer.Addr().Unmap(), Port: peer.Port()}
	if t.Empty() || !t.Trusts(peer.Addr()) {
		return client
	}
	if proxied.IsValid() {
		client.Address, client.Port, client.Source = proxied.Addr().Unmap(), proxied.Port(), ProxyProtocol
		if !t.Trusts(client.Address) {
			return client
		}
	}
	return t.fromFields(client, fields)
}

// fromFields walks on from a trusted hop.
func (t *Trust) fromFields(near Client, fields []request.Field) Client {
	var present presence
	present.look(fields)
	client := near
	switch {
	case present.xForwardedFor:
		walked := t.walk(&client, list{fields: fields, name: "x-forwarded-for"}, parseNode)
		client.mark(XForwardedFor, walked)
		client.scheme(fields, walked)
		if present.forwarded {
			t.compare(near, &client, fields)
		}
	case present.forwarded:
		var elements elements
		walked := t.walk(&client, list{fields: fields, name: "forwarded"}, elements.parse)
		client.mark(Forwarded, walked)
		client.Scheme = elements.scheme
		if client.Scheme == "" {
			client.scheme(fields, walked)
		}
	default:
		if present.xRealIP {
			t.realIP(&client, fields)
		}
		client.scheme(fields, 0)
	}
	return client
}

// presence says which fields a request has.
type presence struct{ xForwardedFor, forwarded, xRealIP bool }

func (p *presence) look(fields []request.Field) {
	for i := range fields {
		switch name := fields[i].Name; len(name) {
		case len("x-forwarded-for"):
			p.xForwardedFor = p.xForwardedFor || request.EqualFold(name, "x-forwarded-for")
		case len("forwarded"): // as long as x-real-ip
			p.forwarded = p.forwarded || request.EqualFold(name, "forwarded")
			p.xRealIP = p.xRealIP || request.EqualFold(name, "x-real-ip")
		}
	}
}

// mark sets the source if the walk left the place where it began.
func (c *Client) mark(source Source, walked int) {
	if walked > 0 {
		c.Source = source
	}
}

// walk follows a list from its right end while hops are trusted. It returns how many it
// accepted. The last accepted is the client.
func (t *Trust) walk(client *Client, l list, parse func([]byte) (node, state)) int {
	walked := 0
	for elements := l.backward(); ; walked++ {
		element, found := elements.next()
		if !found {
			return walked
		}
		if walked == maxHops {
			client.Fault = Malformed
			return walked
		}
		node, state := parse(element)
		switch state {
		case malformed:
			client.Fault = Malformed
			return walked
		case hidden:
			client.Fault = Hidden
			return walked
		}
		client.Address, client.Port = node.address, node.port
		if !t.Trusts(node.address) {
			return walked + 1
		}
	}
}

// compare says so if Forwarded names another client than X-Forwarded-For did.
func (t *Trust) compare(near Client, client *Client, fields []request.Field) {
	other := near
	var elements elements
	t.walk(&other, list{fields: fields, name: "forwarded"}, elements.parse)
	if other.Address != client.Address && client.Fault == None {
		client.Fault = Contradicting
	}
}

// realIP reads X-Real-IP, which has a single address.
func (t *Trust) realIP(client *Client, fields []request.Field) {
	value, several := single(fields, "x-real-ip")
	node, state := parseNode(value)
	switch {
	case several || state == malformed:
		client.Fault = Malformed
	case state == hidden:
		client.Fault = Hidden
	default:
		client.Address, client.Port, client.Source = node.address, node.port, XRealIP
	}
}
