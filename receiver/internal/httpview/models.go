// SPDX-License-Identifier: Apache-2.0

package httpview

import (
	"net/netip"

	"github.com/ebpftcp/ebpftcpreceiver/internal/genai"
	"github.com/ebpftcp/ebpftcpreceiver/internal/payload"
	"github.com/ebpftcp/ebpftcpreceiver/internal/privacy"
	"github.com/ebpftcp/ebpftcpreceiver/internal/request"
)

// Call is a request to a language model. Its strings are redacted.
type Call struct {
	*genai.Call
	// Request and Response are the models' names for metrics; "" if unknown.
	Request, Response string
	// FirstToken is from the first byte of the request to the first byte of the body of a
	// stream, in nanoseconds; 0 if unknown.
	FirstToken int64
	// Timed is set if the duration is known, of a stream, too. Succeeded is set if the status is
	// 2xx.
	Timed, Succeeded bool
}

const (
	// maxModelContent and maxModelRatio bound what content encodings expand to.
	maxModelContent = 256 << 10
	maxModelRatio   = 200
)

// modelOther stands for names of models beyond the bound.
const modelOther = "_OTHER"

// models reads calls to language models.
type models struct {
	ports  *Ports
	redact *privacy.Redactor
	reader genai.Reader
	// request and answer have memory of their own, because a call is read from both.
	request, answer payload.Decoder
	names           modelNames
	text            []byte
	call            Call
}

// newModels returns nil if no port has models.
func newModels(ports *Ports, redact *privacy.Redactor) *models {
	if ports == nil {
		return nil
	}
	decoder := payload.Decoder{MaxBytes: maxModelContent, MaxRatio: maxModelRatio}
	return &models{ports: ports, redact: redact, request: decoder, answer: decoder, names: newModelNames()}
}

// callOf reads a client's call to a language model; nil if the request is none.
func (m *models) callOf(e *request.Exchange, client netip.Addr) *Call {
	endpoint := genai.EndpointOf(e.Method, e.Target)
	if !m.ports[e.Server.Port()] || endpoint == genai.NoEndpoint {
		return nil
	}
	in := genai.Input{Endpoint: endpoint, Target: e.Target, EventStream: e.Answer.EventStream, Tail: e.Answer.Tail}
	in.Request = content(&m.request, &e.Request)
	in.Answer = content(&m.answer, &e.Answer)
	if len(payload.Encoding(&e.Answer)) > 0 {
		// The end of compressed content can't be read by itself.
		in.Tail = nil
	}
	known, ok := m.reader.Read(&in)
	if !ok {
		return nil
	}
	_, timed := e.Duration()
	m.call = Call{Call: known, Timed: timed && e.Status != 0, Succeeded: 200 <= e.Status && e.Status <= 299}
	m.call.Request = m.name(known.RequestModel, e, client)
	m.call.Response = m.name(known.ResponseModel, e, client)
	if began := e.Answer.BodyBegan; in.EventStream && m.call.Succeeded && began != 0 && e.Request.Began != 0 {
		m.call.FirstToken = max(1, began-e.Request.Began)
	}
	return &m.call
}

// content is the beginning of a message's content without the encodings that can be decoded;
// nil if others are left.
func content(d *payload.Decoder, m *request.Message) []byte {
	decoded := d.Decode(m.Body, m.BodyCut, payload.Encoding(m))
	if decoded.Remains != "" {
		return nil
	}
	return decoded.Content
}

// name is a model's name for metrics. Only a server that serves a model makes its name known.
func (m *models) name(sent []byte, e *request.Exchange, client netip.Addr) string {
	if len(sent) == 0 {
		return ""
	}
	if name, ok := m.names.find(sent, e.Finished); ok {
		return name
	}
	if !m.call.Succeeded || !m.names.mayAdd(client, e.Finished) {
		return modelOther
	}
	m.text = m.redact.Text(m.text[:0], sent, false, "", nil)
	name := string(m.text)
	m.names.add(sent, name, client, e.Finished)
	return name
}

// putCall redacts what records show of a call.
func (v *Viewer) putCall(view *View) {
	if view.Call == nil {
		return
	}
	c := view.Call.Call
	c.RequestModel = v.callText(c.RequestModel, privacy.BodyRequest)
	c.ResponseModel = v.callText(c.ResponseModel, privacy.BodyResponse)
	c.ResponseID = v.callText(c.ResponseID, privacy.BodyResponse)
	for i := range c.FinishReasons {
		c.FinishReasons[i] = v.callText(c.FinishReasons[i], privacy.BodyResponse)
	}
}

func (v *Viewer) callText(text []byte, where string) []byte {
	if len(text) == 0 {
		return nil
	}
	return v.add(func(to []byte) []byte { return v.options.Redact.Text(to, text, false, where, &v.redacted) })
}
