// SPDX-License-Identifier: Apache-2.0

package httpview

import (
	"bytes"
	"net/netip"
	"strconv"

	"github.com/ebpftcp/ebpftcpreceiver/internal/forwarded"
	"github.com/ebpftcp/ebpftcpreceiver/internal/privacy"
	"github.com/ebpftcp/ebpftcpreceiver/internal/tracecontext"
)

// Detail is what only records show of an exchange. Secrets are redacted.
type Detail struct {
	// Client is the client behind trusted proxies, else the socket's peer. ClientPort is 0 if a
	// proxy does not say it.
	Client     netip.Addr
	ClientPort uint16
	// MethodOriginal is a method that is not known.
	MethodOriginal []byte
	// Path and Query are the parts of the target.
	Path, Query []byte
	// Host is the host that the request names; empty without one. HostPort is 0 if the request
	// names no port.
	Host     []byte
	HostPort uint16
	// UserAgent is the value of the header field; nil without one.
	UserAgent []byte
	// RequestHeaders and AnswerHeaders are the selected header fields.
	RequestHeaders, AnswerHeaders []privacy.Header
	// Trace is the position in a trace, if Traced is set.
	Trace  tracecontext.Context
	Traced bool
	// Gateway is what a gateway says of the request.
	Gateway Gateway
	// RequestBody and AnswerBody are the exported copies of the bodies; nil without one.
	RequestBody, AnswerBody *Body
	// Redacted names what was hidden.
	Redacted []string
}

// Complete adds what records show.
func (v *Viewer) Complete(view *View) {
	v.detailed = true
	v.text = v.text[:0]
	v.redacted.Reset()
	v.putTarget(view)
	putRPC(view)
	v.putClient(view)
	if value := view.Request.Field("user-agent"); value != nil {
		view.UserAgent = v.header("user-agent", value)
	}
	if h := v.options.RequestHeaders; h != nil {
		view.RequestHeaders, _ = h.Select(view.Request.Fields(), v.options.Redact, &v.redacted)
	}
	if h := v.options.AnswerHeaders; h != nil {
		view.AnswerHeaders, _ = h.Select(view.Answer.Fields(), v.options.Redact, &v.redacted)
	}
	v.putGateway(view)
	var fault tracecontext.Fault
	view.Trace, view.Traced, fault = tracecontext.Parse(view.Request.Fields(), v.state[:0])
	v.ignored.traceContext(fault)
	v.putCall(view)
	v.putBodies(view)
	view.Redacted = v.redacted.Names()
}

func (v *Viewer) putTarget(view *View) {
	redact := v.options.Redact
	target := privacy.Split(view.Exchange.Method, view.Target)
	target.Userinfo(&v.redacted)
	if view.Method == MethodOther && len(view.Exchange.Method) > 0 {
		view.MethodOriginal = v.add(func(to []byte) []byte {
			return redact.Text(to, view.Exchange.Method, false, "method", &v.redacted)
		})
	}
	if len(target.Path) > 0 {
		view.Path = v.add(func(to []byte) []byte { return redact.Path(to, target.Path, view.Request.HeadCut, &v.redacted) })
	}
	if target.Query != nil {
		view.Query = v.add(func(to []byte) []byte { return redact.Query(to, target.Query, view.Request.HeadCut, &v.redacted) })
	}
	host := target.Authority
	if len(host) == 0 {
		host = view.Request.Field("host")
	}
	if len(host) > 0 {
		view.Host, view.HostPort = splitPort(v.header("host", host))
	}
}

// clientOf is the address of the client behind trusted proxies, else the socket's peer.
func (v *Viewer) clientOf(view *View) netip.Addr {
	if behind := &view.Behind; behind.Source != forwarded.Socket && behind.Address.IsValid() {
		return behind.Address
	}
	return view.Exchange.Client.Addr()
}

func (v *Viewer) putClient(view *View) {
	peer := view.Exchange.Client
	view.Detail.Client, view.ClientPort = peer.Addr(), peer.Port()
	if behind := &view.Behind; behind.Source != forwarded.Socket && behind.Address.IsValid() {
		view.Detail.Client, view.ClientPort = behind.Address, behind.Port
	}
}

// header returns the redacted value of a header field.
func (v *Viewer) header(name string, value []byte) []byte {
	return v.add(func(to []byte) []byte { return v.options.Redact.Header(to, []byte(name), value, &v.redacted) })
}

// add returns what a function appends to the memory of redacted text.
func (v *Viewer) add(appended func([]byte) []byte) []byte {
	begin := len(v.text)
	v.text = appended(v.text)
	return v.text[begin:len(v.text):len(v.text)]
}

// splitPort cuts the port off a host, and the brackets off an IPv6 address.
func splitPort(host []byte) ([]byte, uint16) {
	colon := bytes.LastIndexByte(host, ':')
	if colon < 0 || bytes.IndexByte(host[colon:], ']') >= 0 {
		return unbracket(host), 0
	}
	port, err := strconv.ParseUint(string(host[colon+1:]), 10, 16)
	if err != nil || bytes.IndexByte(host[:colon], ':') >= 0 && host[0] != '[' {
		return unbracket(host), 0
	}
	return unbracket(host[:colon]), uint16(port)
}

func unbracket(host []byte) []byte {
	if n := len(host); n >= 2 && host[0] == '[' && host[n-1] == ']' {
		return host[1 : n-1]
	}
	return host
}
