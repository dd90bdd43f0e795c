// SPDX-License-Identifier: Apache-2.0

// Package tlsview turns a TLS handshake into what records show of it: the client behind trusted
// proxies, and names without what is private.
package tlsview

import (
	"net/netip"

	"github.com/ebpftcp/ebpftcpreceiver/internal/forwarded"
	"github.com/ebpftcp/ebpftcpreceiver/internal/privacy"
	"github.com/ebpftcp/ebpftcpreceiver/internal/tls"
)

// MaxOffers bounds the items of each list of what a client offers.
const MaxOffers = 16

// What Redacted lists.
const (
	redactedName     = "tls.server_name"
	redactedProtocol = "tls.protocol"
)

// View is what records show of a handshake. Its bytes can be anything, but are redacted.
type View struct {
	*tls.Handshake
	// Client is the client that a trusted proxy names, else the socket's peer.
	Client netip.AddrPort
	// Name is the name that the client asks for; empty without one.
	Name []byte
	// Offers are the protocols that the client offers, at most MaxOffers, and Protocol is the
	// one that the server chose; empty if unknown.
	Offers   [][]byte
	Protocol []byte
	// Redacted names what was hidden.
	Redacted []string
}

// Options configure a Viewer. Nil trusts nobody, and hides nothing.
type Options struct {
	Trust  *forwarded.Trust
	Redact *privacy.Redactor
}

// Viewer makes views. It is for one goroutine at a time.
type Viewer struct {
	options Options
	view    View
	// offers and text are the memory of a view.
	offers   [MaxOffers][]byte
	text     []byte
	redacted privacy.List
}

// New makes a Viewer.
func New(options Options) *Viewer { return &Viewer{options: options} }

// Of makes the view of a handshake, which is valid until the next call.
func (v *Viewer) Of(h *tls.Handshake) *View {
	v.text = v.text[:0]
	v.redacted.Reset()
	view := &v.view
	*view = View{Handshake: h, Client: h.Client, Name: v.show(h.Hello.Name, redactedName)}
	if v.options.Trust != nil {
		found := v.options.Trust.Find(h.Client, h.Proxied, nil)
		view.Client = netip.AddrPortFrom(found.Address, found.Port)
	}
	view.Offers = v.offers[:0]
	for name := range h.Hello.Protocol {
		if len(view.Offers) == MaxOffers {
			break
		}
		view.Offers = append(view.Offers, v.show(name, redactedProtocol))
	}
	view.Protocol = v.show(h.Protocol, redactedProtocol)
	view.Redacted = v.redacted.Names()
	return view
}

// show returns a text without what patterns hide.
func (v *Viewer) show(text []byte, where string) []byte {
	if len(text) == 0 || v.options.Redact == nil {
		return text
	}
	begin := len(v.text)
	v.text = v.options.Redact.Text(v.text, text, false, where, &v.redacted)
	return v.text[begin:len(v.text):len(v.text)]
}
